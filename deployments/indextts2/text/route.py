"""The language route: which grammar reads a text; and pinyin, which forces a reading (indextts2-front.md 10.2)."""

from __future__ import annotations

import re
from typing import Literal

_INITIAL = "zh|ch|sh|[bpmfdtnlgkhjqxzcsryw]"
_FINAL = (
    "[uüv]ang|iang|iong|[uüv]an|uai|iao|ian|ang|eng|ing|ong|ai|ei|ua|ui|uo|ao|ou|ia|iu|ie|[uüv]e|an|en|in"
    "|un|vn|[aeiouüv]"
)
_PINYIN = re.compile(rf"(?<![a-z])(?:(?:{_INITIAL})?(?:{_FINAL})|ng|er)[1-5]", re.IGNORECASE)
_U_AFTER_JQX = re.compile(r"^([jqx])[uü]((?:n|e|an)*)(\d)", re.IGNORECASE)

# Lower-case syllables, or several: alone, two capitals and a digit are a name such as DE5.
_WORD = re.compile(r"[^\W_]*[^\W\d_][^\W_]*")
_SYLLABLE = rf"(?:(?:{_INITIAL})(?:{_FINAL})|ng|er|[aeo])[1-5]"
_PINYIN_WORD = re.compile(rf"(?:{_SYLLABLE}){{2,}}|(?:{_INITIAL})(?:{_FINAL})[1-5]")

Route = Literal["zh", "en"]

_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")
_EMAIL = re.compile(r"[A-Za-z0-9]+@[A-Za-z0-9]+\.[A-Za-z]+")


def is_email(text: str) -> bool:
    return _EMAIL.fullmatch(text) is not None


def language_route(text: str) -> Route:
    """Chinese is also the route of texts without any Latin letter, as published."""
    chinese = _HAN.search(text) or not _LATIN.search(text) or is_email(text) or has_pinyin(text)
    return "zh" if chinese else "en"


def reads_chinese(text: str, document: str) -> bool:
    """Whether a text needs the Chinese grammar where a model speaks both: `A4` and `CO2` are no pinyin.

    `document` is the language of what the text is part of, and decides where it has no letters.
    """
    if _HAN.search(text):
        return True
    words = _WORD.findall(text)
    if not words:
        return document == "zh"
    return all(_PINYIN_WORD.fullmatch(word) for word in words)


def find_pinyin(text: str) -> list[str]:
    """Every syllable with its tone, in order, as written."""
    return _PINYIN.findall(text)


def has_pinyin(text: str) -> bool:
    return _PINYIN.search(text) is not None


def correct_pinyin(syllable: str) -> str:
    """The vocabulary's spelling: after j, q, x a written u is ü, spelled V, and the syllable is upper-cased;
    other syllables keep case and spelling."""
    if syllable[:1].lower() not in ("j", "q", "x"):
        return syllable
    return _U_AFTER_JQX.sub(r"\1v\2\3", syllable).upper()
