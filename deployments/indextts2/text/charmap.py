"""Punctuation reduced to what the vocabulary of IndexTTS2 holds (indextts2-front.md 10.2, step 9)."""

from __future__ import annotations

import re

# Order is part of the published behaviour: the first entry that matches wins, so "，，，" is never reached.
_MAP: dict[str, str] = {
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
_MAP_ZH = {"$": ".", **_MAP}
_PATTERN = re.compile("|".join(map(re.escape, _MAP)))
_PATTERN_ZH = re.compile("|".join(map(re.escape, _MAP_ZH)))


def map_characters(text: str, *, chinese: bool) -> str:
    """One pass from left to right; what it produces is not mapped again."""
    pattern, table = (_PATTERN_ZH, _MAP_ZH) if chinese else (_PATTERN, _MAP)
    return pattern.sub(lambda match: table[match.group()], text)
