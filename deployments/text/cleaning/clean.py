"""A text without what is there for eyes and machines: the one step before any model."""

from __future__ import annotations

import re

from deployments.text.cleaning.markdown import drop_markdown
from deployments.text.cleaning.signs import drop_signs
from deployments.text.cleaning.tags import decode_entities, drop_tags

_MOST_ROUNDS = 4
_EVERY_SIGN = re.compile(r"[&<>*_~`#\[\]|\\()!{}^•]|^[ \t]*[-+–—=][-+–—= \t]*|[-=]+>", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def clean_text(text: str) -> str:
    """HTML, SSML and Markdown as the words they stand for; a pause that is asked for becomes a pause_mark.

    Cleaning a clean text changes nothing: what one round uncovers (a tag in entities, a link in emphasis) another one
    drops. Where that has no end, no sign of markup is left. Takes time in proportion to the length of the text.
    """
    for _ in range(_MOST_ROUNDS):
        cleaned = _round(text)
        if cleaned == text:
            return text
        text = cleaned
    while (cleaned := _round(_EVERY_SIGN.sub(" ", text))) != text:
        text = cleaned
    return text


def _round(text: str) -> str:
    text = drop_tags(decode_entities(text))
    text = drop_signs(drop_markdown(text))
    return _BLANK_LINES.sub("\n\n", text).strip()
