"""Digits as the words that are usually spoken for them, in English."""

from __future__ import annotations

import re

from num2words import num2words

# A recogniser writes either form of a number; words are the form that speech has.
_CLOCK = re.compile(r"\b(\d{1,2}):(\d{2})\b")
_MONEY = re.compile(r"([$£€])\s?(\d[\d,]*(?:\.\d+)?)((?: (?:hundred|thousand|million|billion|trillion))*)")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}\b)")
_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<ending>st|nd|rd|th|s)?(?![\d])")
_CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros"}
_YEAR = re.compile(r"1[1-9]\d\d|20[1-9]\d")
_LONGEST_QUANTITY = 6  # more digits, or a leading zero, are a telephone number or a code: read one by one


def spell_numbers(text: str) -> str:
    """Lower-case text with every digit spelled out; four digits from 1100 on are taken for a year."""
    text = _CLOCK.sub(_clock, text)
    text = _MONEY.sub(lambda found: f"{found[2]}{found[3]} {_CURRENCIES[found[1]]}", text)
    text = _GROUPED.sub("", text)
    return _NUMBER.sub(lambda found: f" {_spoken(found['number'], found['ending'] or '')} ", text)


def _clock(found: re.Match[str]) -> str:
    hours, minutes = int(found[1]), found[2]
    if minutes == "00":
        return f"{hours} o'clock"
    return f"{hours} oh {minutes[1]}" if minutes[0] == "0" else f"{hours} {minutes}"


def _spoken(number: str, ending: str) -> str:
    if "." in number:
        return str(num2words(number)) + ending
    if (number[0] == "0" and len(number) > 1) or len(number) > _LONGEST_QUANTITY:
        return " ".join(str(num2words(int(digit))) for digit in number) + ending
    if ending in ("st", "nd", "rd", "th"):
        return str(num2words(int(number), to="ordinal"))
    words = str(num2words(int(number), to="year" if _YEAR.fullmatch(number) else "cardinal"))
    if ending == "s":
        return words[:-1] + "ies" if words.endswith("y") else words + "s"
    return words
