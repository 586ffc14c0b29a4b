"""Fractions, and what else is written with a slash between numbers."""

from __future__ import annotations

import re

from deployments.text.english.dates import MONTHS
from deployments.text.english.numbers import NUMBER, cardinal, code, fraction, number, ordinal
from deployments.text.english.rules import Rule, rule

# Not fractions.
_SAYINGS = {"24/7", "9/11", "7/11", "50/50", "20/20", "80/20", "60/40", "70/30", "90/10", "40/60"}
_MARKS_OUT_OF = (5, 10, 100)


def mixed(whole: int, said: str) -> str:
    """two and three quarters, one and a half"""
    if said in ("one half", "one quarter", "one third"):
        said = said.replace("one", "a" if said != "one third" else "one", 1)
    return f"{cardinal(whole)} and {said}"


def _mixed(match: re.Match[str]) -> str:
    n, d = int(match["n"]), int(match["d"])
    if not 0 < n < d:
        return match.group()
    return ("minus " if match["minus"] else "") + mixed(int(match["whole"]), fraction(n, d))


def _signed_slash(match: re.Match[str]) -> str:
    return ("minus " if match["minus"] else "") + _slash(match["n"], match["d"])


def _slash(n: str, d: str) -> str:
    if f"{n}/{d}" in _SAYINGS:
        return f"{cardinal(int(n))} {cardinal(int(d))}"
    if "." in n or "." in d or (n == d and int(d) > 1):
        return f"{number(n)} out of {number(d)}"
    if n[0] == "0" or d[0] == "0":
        return f"{number(n)} over {number(d)}"
    if int(n) < int(d) or int(d) in (2, 3, 4, 8):
        return fraction(int(n), int(d))
    return f"{cardinal(int(n))} over {cardinal(int(d))}"


def _day(match: re.Match[str]) -> str:
    month, day = int(match["month"]), int(match["day"])
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        return match.group()
    return f"{match['on']} {MONTHS[month - 1]} {ordinal(day)}"


def _chain(match: re.Match[str]) -> str:
    return " ".join(code(part) for part in match.group().split("/"))


_MINUS = r"(?P<minus>(?<![\w.,%)-])[-\u2212])?"
_END = r"(?![\w/]|[.,]\d)"
FRACTIONS: list[Rule] = [
    rule(rf"{_MINUS}(?<![\w.,/$€£])(?P<whole>\d{{1,3}})[\s-](?P<n>\d{{1,2}})/(?P<d>\d{{1,3}}){_END}", _mixed),
    rule(
        rf"\b(?P<on>on|On|due|dated) (?P<month>\d{{1,2}})/(?P<day>\d{{1,2}}){_END}"
        r"(?!\s(?:of|a\b|cup|tea|table|inch|mile|hour|pound|scale))",
        _day,
    ),
    rule(rf"(?<![\w.,/$€£])\d+(?:/\d+){{2,}}{_END}", _chain),
    rule(rf"(?<![\w.,/$€£]){_MINUS}(?P<n>{NUMBER})/(?P<d>{NUMBER}){_END}", _signed_slash),
]
