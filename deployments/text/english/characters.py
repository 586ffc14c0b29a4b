"""Characters that stand for others: digits of all scripts, circled and Roman numerals, signs of width and of height."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from deployments.text.english.roman import roman_value
from deployments.text.english.rules import Rule, rule

_HYPHENS = dict.fromkeys("\u2010\u2011\ufe63\uff0d", "-")
_PRIMES = {"′": "'", "″": '"', "\uff07": "'", "\uff02": '"'}
_UNITS = {"℃": "°C", "℉": "°F", "μ": "µ", "Ω": "Ω", "K": "K", "Å": "Å", "㎏": "kg", "㎞": "km", "㎡": "m²"}
_SLASHES = dict.fromkeys("\u2044\u2215", "/")
_SIGNS = {
    "№": "No. ",
    "＄": "$",
    "￥": "¥",
    "￡": "£",
    "％": "%",
    "＋": "+",
    "＝": "=",
    "℅": "care of",
    "℡": "telephone",
}
_SIMPLE = str.maketrans({**_HYPHENS, **_PRIMES, **_UNITS, **_SLASHES, **_SIGNS})
_ODD = re.compile(r"[^\x00-\x7f]")
_ROMAN = re.compile("[Ⅰ-ⅿ]+")
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+", strict=True))
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-")


def plain_characters(text: str) -> str:
    """The text with its numbers in ASCII digits: 3½ as 3 1/2. Raised digits stay, because they are exponents."""
    if text.isascii():
        return text
    text = text.translate(_SIMPLE).translate(_LOWERED)
    return _ODD.sub(_plain, _ROMAN.sub(_roman, text))


def raised(digits: str) -> str:
    """²³ as 23"""
    return "".join(_RAISED[char] for char in digits)


def _roman(match: re.Match[str]) -> str:
    numeral = unicodedata.normalize("NFKC", match.group()).upper()
    value = roman_value(numeral)
    return numeral if value is None else str(value)


def _plain(match: re.Match[str]) -> str:
    char = match.group()
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if char in _RAISED or category not in ("No", "Nl"):
        return char
    value = Fraction(unicodedata.numeric(char)).limit_denominator(160)
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    return f"{' ' if before.isalnum() else ''}{value}{' ' if after.isalnum() else ''}"


# ¹⁄₂, whose slash is plain by now
RAISED_FRACTIONS: list[Rule] = [
    rule(r"(?P<n>[⁰¹²³⁴⁵⁶⁷⁸⁹]+)/(?P<d>\d+)", lambda m: f" {raised(m['n'])}/{m['d']}"),
]
