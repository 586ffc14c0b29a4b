"""Pinyin with a tone digit, written into the text to force a reading (indextts2-front.md 10.2)."""

from __future__ import annotations

import re

_INITIAL = "zh|ch|sh|[bpmfdtnlgkhjqxzcsryw]"
_FINAL = (
    "[uüv]ang|iang|iong|[uüv]an|uai|iao|ian|ang|eng|ing|ong|ai|ei|ua|ui|uo|ao|ou|ia|iu|ie|[uüv]e|an|en|in"
    "|un|vn|[aeiouüv]"
)
_PINYIN = re.compile(rf"(?<![a-z])(?:(?:{_INITIAL})?(?:{_FINAL})|ng|er)[1-5]", re.IGNORECASE)
_U_AFTER_JQX = re.compile(r"^([jqx])[uü]((?:n|e|an)*)(\d)", re.IGNORECASE)


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
