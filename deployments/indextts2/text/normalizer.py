"""The normaliser of IndexTTS2: a text as the model was taught to read it (indextts2-front.md 10.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from deployments.core.logs import logger
from deployments.indextts2.text.route import Route, correct_pinyin, find_pinyin, language_route
from deployments.text.english.normalizer import normalize_english
from deployments.text.fst import TextFst, WetextFst
from deployments.text.glossary import Glossary, longest_first

# Punctuation reduced to what the vocabulary holds (indextts2-front.md 10.2, step 9).
# Order is part of the published behaviour: the first entry that matches wins, so "，，，" is never reached.
_CHARACTERS: dict[str, str] = {
    "：": ",",
    "；": ",",
    ";": ",",
    "，": ",",
    "。": ".",
    "！": "!",
    "？": "?",
    "\n": " ",
    "·": "-",
    "、": ",",
    "...": "…",
    ",,,": "…",
    "，，，": "…",
    "……": "…",
    **dict.fromkeys('“”"‘’（）()《》【】[]', "'"),
    "—": "-",
    "～": "-",
    "~": "-",
    "「": "'",
    "」": "'",
    ":": ",",
}
_CHARACTERS_ZH = {"$": ".", **_CHARACTERS}
_PATTERN = re.compile("|".join(map(re.escape, _CHARACTERS)))
_PATTERN_ZH = re.compile("|".join(map(re.escape, _CHARACTERS_ZH)))

_ANNOTATION = re.compile(r"<[^|>\n]+\|[^>\n]+>")
_CONTRACTION = re.compile(r"(what|where|who|which|how|there|here|it|he|she|that|this)'s", re.IGNORECASE)
_TECHNICAL = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+")
_NAME = re.compile(r"[\u4e00-\u9fff]+(?:[-·—][\u4e00-\u9fff]+){1,2}")
_HYPHEN = re.compile(r"\s*<H>\s*")


@dataclass(frozen=True)
class NormalizedText:
    text: str
    route: Route
    fst_failed: bool = False


class Normalizer:
    """Holds no state between calls; may be shared by threads."""

    def __init__(self, glossary: Glossary | None = None, fst: TextFst | None = None) -> None:
        self._glossary = glossary or Glossary()
        self._fst = fst or WetextFst()

    def english(self, text: str) -> NormalizedText:
        """By the rules that all models share: they read more than the published grammar, and never fail."""
        text, annotations = hide_annotations(text)
        text = self._glossary.apply(_CONTRACTION.sub(r"\1 is", text), "en")
        text = map_characters(normalize_english(text), chinese=False)
        return NormalizedText(restore(text, annotations), "en")

    def __call__(self, text: str) -> NormalizedText:
        """As published.

        When the FST grammar fails, Chinese text comes back empty and English text with its numbers as
        written: that is the published behaviour, and `fst_failed` says so."""
        text, annotations = hide_annotations(text)
        route = language_route(text)
        text = self._glossary.apply(_CONTRACTION.sub(r"\1 is", text), route)
        try:
            text, failed = self._through_fst(text, route), False
        except Exception as error:  # the grammars raise whatever they like, AssertionError included
            # The client is told by a warning of the segment. What people have spoken does not belong into logs.
            logger.warning("the %s text grammar failed on %d characters: %r", route, len(text), error)
            logger.debug("it failed on %r", text)
            text, failed = "" if route == "zh" else text, True
        text = map_characters(text, chinese=route == "zh")
        return NormalizedText(restore(text, annotations), route, failed)

    def _through_fst(self, text: str, route: Route) -> str:
        if route == "zh":
            text = text.rstrip()
        terms = longest_first(_TECHNICAL.findall(text))
        for term in terms:
            text = text.replace(term, term.replace("-", "<H>"))
        pinyin: dict[str, str] = {}
        names: dict[str, str] = {}
        if route == "zh":
            text, pinyin = hide(text, find_pinyin(text), "<pinyin_{}>")
            text, names = hide(text, _NAME.findall(text), "<n_{}>")
        text = restore(self._fst(text, route), names)
        text = restore(text, {mark: correct_pinyin(syllable) for mark, syllable in pinyin.items()})
        return _HYPHEN.sub("-", text) if terms else text


def hide_annotations(text: str) -> tuple[str, dict[str, str]]:
    """`<word|reading>` is for the model itself: no step may touch it."""
    hidden: dict[str, str] = {}

    def hide_one(match: re.Match[str]) -> str:
        placeholder = f"PRONPLACEHOLDER{letters(len(hidden))}PRONPLACEHOLDER"
        hidden[placeholder] = match.group()
        return placeholder

    return _ANNOTATION.sub(hide_one, text), hidden


def map_characters(text: str, *, chinese: bool) -> str:
    """One pass from left to right; what it produces is not mapped again."""
    pattern, table = (_PATTERN_ZH, _CHARACTERS_ZH) if chinese else (_PATTERN, _CHARACTERS)
    return pattern.sub(lambda match: table[match.group()], text)


def letters(index: int) -> str:
    """Names of placeholders: 0 → "a", 25 → "z", 26 → "aa". They hold no digits, which the grammars would read."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("a") + rest) + name
    return name


def hide(text: str, items: Iterable[str], pattern: str) -> tuple[str, dict[str, str]]:
    """Every occurrence of each item becomes `pattern` with its letters filled in; returns the way back."""
    hidden: dict[str, str] = {}
    for item in longest_first(items):
        placeholder = pattern.format(letters(len(hidden)))
        text = text.replace(item, placeholder)
        hidden[placeholder] = item
    return text, hidden


def restore(text: str, hidden: dict[str, str]) -> str:
    for placeholder, item in hidden.items():
        text = text.replace(placeholder, item)
    return text
