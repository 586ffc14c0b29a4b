"""Digits in the ways the world groups them, as English writes them: 1,000,000.5."""

from __future__ import annotations

import re

from deployments.text.english.rules import Rule, rule

_SPACE = "[ \u00a0\u202f\u2009\u2007\u2008'’_]"
# A single group after a plain space may be a number of its own; these make it one.
_LIST_NOUN = (
    r"(?:pages|chapters|verses|items|rows|steps|days|sections|figures|tables|lines|questions|numbers|units)"
)
_LIST = re.compile(rf"\b{_LIST_NOUN}\s$", re.IGNORECASE)


def _commas(digits: str) -> str:
    return f"{int(digits):,}" if len(digits) < 300 else digits


def _joined(match: re.Match[str]) -> str:
    whole, decimals = re.sub(r"\D", "", match["whole"]), match["decimals"]
    return _commas(whole) + (f".{decimals}" if decimals else "")


def _decimal_comma(match: re.Match[str]) -> str:
    """3,14 is a decimal; 3,4 after "pages" are two numbers."""
    whole, decimals = match["whole"], match["decimals"]
    if len(decimals) == 3 and whole != "0":
        return match.group()
    if _LIST.search(match.string, max(0, match.start() - 12), match.start()):
        return f"{whole}, {decimals}"
    return f"{whole}.{decimals}"


GROUPING: list[Rule] = [
    # 1.234.567,89 and 1.234,56
    rule(
        r"(?<![\w.,])(?P<whole>\d{1,3}(?:\.\d{3}){2,})(?:,(?P<decimals>\d+))?(?![\d]|[.,]\d)",
        _joined,
    ),
    rule(r"(?<![\w.,])(?P<whole>\d{1,3}(?:\.\d{3})+),(?P<decimals>\d+)(?![\d]|[.,]\d)", _joined),
    # €1.000 is no price with three decimals.
    rule(r"(?<=€)(?P<whole>[1-9]\d{0,2}\.\d{3})(?![\d]|[.,]\d)(?P<decimals>)", _joined),
    rule(r"(?<![\w.,])(?P<whole>[1-9]\d{0,2}\.\d{3})(?=\s?€)(?P<decimals>)", _joined),
    # 1 000 000 and 1'000'000, not the groups of a telephone number.
    rule(
        rf"(?<![\w.,])(?<!\d{_SPACE})(?P<whole>[1-9]\d{{0,2}}(?P<space>{_SPACE})\d{{3}}(?:(?P=space)\d{{3}})*)"
        rf"(?:[.,](?P<decimals>\d+))?(?!\w|[.,/:]\d|{_SPACE}\d)",
        _joined,
    ),
    # 12,34,567 as in India
    rule(r"(?<![\w.,])(?P<whole>\d{1,2}(?:,\d{2})+,\d{3})(?:\.(?P<decimals>\d+))?(?![\d]|[.,]\d)", _joined),
    rule(r"(?<![\w.,])(?P<whole>\d+),(?P<decimals>\d+)(?![\d]|[.,]\d)", _decimal_comma),
    # A list without spaces, unless the commas group thousands.
    rule(
        r"(?<![\w.,])(?!\d{1,3}(?:,\d{3})+(?!\d|,\d))\d+(?:,\d+){2,}", lambda m: m.group().replace(",", ", ")
    ),
]
