"""Plain numbers: with a scale, ordinals, ranges, scores, and last whatever digits are left."""

from __future__ import annotations

import re

from deployments.text.english.numbers import (
    DASH,
    MINUS,
    NUMBER,
    SCALES,
    code,
    number,
    ordinal,
    plural,
    scaled,
    spell,
)
from deployments.text.english.rules import Rule, alternatives, rule

_START = r"(?<![\w.,])"
_END = r"(?!\w|[.,]\d)"
# "5M" and "5B" may be names; "m", "b" and "t" are units or nothing.
_BARE = alternatives(scale for scale in SCALES if scale not in ("m", "mm", "MM", "b", "B", "t", "T", "K"))
_PLURAL = r"(?=\s(?:people|men|women|children|[a-z]+s)\b)"


def _scaled(match: re.Match[str]) -> str:
    first = f"{number(match['first'])} to " if match["first"] else ""
    return first + scaled(match["amount"], match["scale"])


def _ordinal(match: re.Match[str]) -> str:
    digits = match["digits"].replace(",", "")
    return ordinal(int(digits)) if len(digits) <= 15 else spell(digits)


def _plural(match: re.Match[str]) -> str:
    digits = match["digits"]
    return plural(code(digits) if len(digits) == 3 and digits[1:] != "00" else number(digits))


def _range(match: re.Match[str]) -> str:
    return f"{number(match['first'])} to {number(match['last'])}"


def _chain(match: re.Match[str]) -> str:
    parts = re.findall(r"\d+", match.group())
    return ", ".join(number(part) if len(part) <= 2 else spell(part) for part in parts)


COUNTS: list[Rule] = [
    rule(r"(?<![\w.,-])50-50(?![\w-])", "fifty fifty"),
    rule(
        rf"{_START}(?:(?P<first>{NUMBER}){DASH})?(?P<amount>{MINUS}{NUMBER})\s?(?P<scale>{_BARE}){_END}",
        _scaled,
    ),
    rule(
        rf"{_START}(?:(?P<first>{NUMBER}){DASH})?(?P<amount>{NUMBER})(?P<scale>[BTK]){_END}{_PLURAL}", _scaled
    ),
    rule(
        rf"{_START}(?P<digits>\d{{1,3}}(?:,\d{{3}})+|\d+)(?:st|nd|rd|th|ˢᵗ|ⁿᵈ|ʳᵈ|ᵗʰ)\b",
        _ordinal,
        ignore_case=True,
    ),
    rule(rf"{_START}(?P<digits>\d+)['’]?s\b", _plural),
    rule(rf"{_START}\d+(?:[-\u2010-\u2013]\d+){{2,}}{_END}", _chain),
    rule(rf"{_START}(?P<first>{MINUS}{NUMBER}){DASH}(?P<last>{NUMBER})(?!\w)", _range),
]
NUMBERS: list[Rule] = [
    rule(r"(?<=[^\W\d_])-(?=\d)", " "),
    rule(r"(?<=\d)-(?=[^\W\d_])", " "),
    rule(
        r"(?<![\w.,])(?P<amount>[-\u2212\u2013](?<![\w)\]][-\u2212\u2013])" + NUMBER + ")",
        lambda m: number(m["amount"]),
    ),
    rule(NUMBER, lambda m: number(m.group())),
    rule(r"\d+", lambda m: f" {spell(m.group())} "),
]
