"""Numbers as English words: plain words and single spaces, because a hyphen is a pause to some models."""

from __future__ import annotations

from functools import lru_cache

from num2words import num2words

# Beyond a quadrillion nobody follows the number; num2words also fails beyond 306 digits.
MOST_DIGITS = 15
# A number as `grouping` leaves it: commas between thousands, a point before decimals.
NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|(?<![\d.])\.\d+)"
DASH = r"(?:[-\u2010-\u2015]|\s[-\u2010-\u2013]\s)"  # between two numbers
MINUS = (  # before one, not between two; a quote before it opens a quotation
    r"(?:(?:(?<![\w)\].,%°'\"’”-])|(?<=\s['\"])|(?<=^['\"]))[-\u2010\u2011\u2012\u2013\u2212])?"
)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SCALES = {
    **dict.fromkeys(("k", "K", "thousand"), "thousand"),
    **dict.fromkeys(("m", "M", "mn", "mm", "MM", "mil", "mln", "Mio", "million"), "million"),
    **dict.fromkeys(("b", "B", "bn", "Bn", "BN", "bln", "Mrd", "billion"), "billion"),
    **dict.fromkeys(("t", "T", "tn", "trn", "trillion"), "trillion"),
    "lakh": "lakh",
    "crore": "crore",
}
# "over" is clearer than the ordinal of other denominators.
_SPOKEN_DENOMINATORS = frozenset((*range(2, 21), 24, 25, 30, 32, 40, 50, 60, 64, 100, 128, 1000))


@lru_cache(maxsize=4096)
def cardinal(value: int) -> str:
    return _plain(num2words(value))


@lru_cache(maxsize=1024)
def ordinal(value: int) -> str:
    return _plain(num2words(value, to="ordinal"))


def spell(digits: str) -> str:
    """Digit by digit; other characters are passed over."""
    return " ".join(DIGITS[int(digit)] for digit in digits if digit in "0123456789")


def integer(digits: str) -> str:
    """Digit by digit where a zero leads, or where there are too many to follow."""
    plain = digits.replace(",", "")
    if len(plain) > MOST_DIGITS or (len(plain) > 1 and plain[0] == "0"):
        return spell(plain)
    return cardinal(int(plain))


def number(text: str) -> str:
    """The words of what NUMBER matches, of its negative too."""
    if text[0] not in ".0123456789":
        return f"minus {number(text[1:])}"
    whole, _, decimals = text.partition(".")
    return f"{integer(whole or '0')} point {spell(decimals)}" if decimals else integer(whole)


def is_one(text: str) -> bool:
    """Does a noun after it stand in the singular?"""
    return text.lstrip("-\u2010\u2011\u2012\u2013\u2212") in ("1", "1.0", "1.00")


def pair(digits: str) -> str:
    """One or two digits as they end a year: 05 is "oh five", 00 is "hundred"."""
    value = int(digits)
    if len(digits) == 2 and value < 10:
        return f"oh {DIGITS[value]}" if value else "hundred"
    return cardinal(value)


def year(digits: str) -> str:
    """Four digits as a year is read."""
    value = int(digits)
    if value % 1000 < 10 or value < 1000:
        return cardinal(value)
    return f"{cardinal(value // 100)} {pair(digits[2:])}"


def code(digits: str) -> str:
    """Digits of a name, such as that of an aeroplane: 747 is "seven forty seven"."""
    if digits[0] == "0" or len(digits) > 4:
        return spell(digits)
    if len(digits) == 4:
        return year(digits)
    if len(digits) == 3:
        return f"{DIGITS[int(digits[0])]} {pair(digits[1:])}"
    return cardinal(int(digits))


def fraction(numerator: int, denominator: int) -> str:
    """One half, three quarters, two thirds, one hundred and twenty over eighty."""
    if denominator == 2:
        name = "half" if numerator == 1 else "halves"
    elif denominator == 4:
        name = "quarter" if numerator == 1 else "quarters"
    elif denominator in _SPOKEN_DENOMINATORS:
        name = ordinal(denominator) + ("" if numerator == 1 else "s")
    else:
        return f"{cardinal(numerator)} over {cardinal(denominator)}"
    return f"{cardinal(numerator)} {name}"


def plural(words: str) -> str:
    """Of number words: nineties, hundreds, sixes."""
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def scaled(amount: str, scale: str | None) -> str:
    """An amount with its suffix, a key of SCALES: 1.5 and M are "one point five million"."""
    return f"{number(amount)} {SCALES[scale]}" if scale else number(amount)


def _plain(words: str) -> str:
    return words.replace(",", "").replace("-", " ")
