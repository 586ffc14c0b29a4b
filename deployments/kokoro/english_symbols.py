"""Symbols in English text that misaki would drop, as words."""

from __future__ import annotations

import re

# Beyond a quadrillion nobody follows the number; num2words also fails beyond 306 digits.
MOST_DIGITS = 15
NUMBER = re.compile(r"\d[\d,]*")
AMOUNT = r"\d[\d,]*(?:\.\d+)?"
SPOKEN = (
    (re.compile(rf"({AMOUNT})\s?([€£$])(?!\d)"), r"\2\1"),  # misaki reads money with the sign in front
    (re.compile(rf"[¥￥]\s?({AMOUNT})"), r"\1 yen"),
    (re.compile(rf"({AMOUNT})\s?[¥￥]"), r"\1 yen"),
    (re.compile(r"\s?(?:°\s?C\b|℃)"), " degrees Celsius"),
    (re.compile(r"\s?(?:°\s?F\b|℉)"), " degrees Fahrenheit"),
    (re.compile(r"\s?°"), " degrees"),
    (re.compile(r"\b([A-Z])([A-Z])&(?=[A-Z])"), r"\1.\2. & "),  # else AT&T begins with the word "at"
    (re.compile(r"\b([CF])#"), r"\1 sharp"),
    (re.compile(r"#(?=\w)"), "number "),
    (re.compile(r"§§?\s?"), "section "),
    (re.compile(r"\s?‰"), " per mille"),
    (re.compile(r"(?<=\d)\s?¢"), " cents"),
    (re.compile(r"(?<=\w)\s*<\s*(?=\w)"), " is less than "),
    (re.compile(r"(?<=\w)\s*>\s*(?=\w)"), " is greater than "),
)


def spell_symbols(text: str) -> str:
    for pattern, words in SPOKEN:
        text = pattern.sub(words, text)
    return NUMBER.sub(_digit_by_digit, text)


def _digit_by_digit(match: re.Match[str]) -> str:
    number = match.group()
    digits = number.replace(",", "")
    return number if len(digits) <= MOST_DIGITS else " ".join(digits)
