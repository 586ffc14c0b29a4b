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
