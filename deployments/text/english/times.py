"""Times of day, durations and scores: what is written with colons."""

from __future__ import annotations

import re

from deployments.text.english.numbers import DASH, cardinal, pair
from deployments.text.english.rules import Rule, rule

_HALF = r"(?:\s?(?P<half>[AaPp])(?:\.\s?[Mm]\.?|[Mm])(?!\w))"
_HOUR = r"(?<![\w.,:/$€£])(?P<hour>[01]?\d|2[0-4])"
_MINUTE = r"(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:\.\d+)?)?"


def clock(hour: int, minute: str, second: str | None, half: str | None) -> str:
    """3:30 p.m., 14:05, 12:00"""
    said = cardinal(hour)
    if int(minute):
        said += f" {pair(minute)}"
    elif not half:
        said = "midnight" if hour in (0, 24) else f"{said} o'clock" if hour <= 12 else f"{said} hundred"
    if second:
        said += f" and {cardinal(int(second))} second" + ("" if int(second) == 1 else "s")
    return said + (f" {half.upper()} M" if half else "")


def _stop(match: re.Match[str]) -> str:
    """The stop of "p.m." where it ends the sentence as well."""
    if not match.group().endswith("."):
        return ""
    following = match.string[match.end() :].lstrip("\"'”’) ")[:1]
    return "." if not following or following.isupper() else ""


def _time(match: re.Match[str]) -> str:
    return clock(int(match["hour"]), match["minute"], match["second"], match["half"]) + _stop(match)


def _half_hour(match: re.Match[str]) -> str:
    return f"{cardinal(int(match['hour']))} {match['half'].upper()} M{_stop(match)}"


def _span(match: re.Match[str]) -> str:
    """9-5pm: of the first only the hour needs to be known."""
    return f"{cardinal(int(match['first']))} to " + match["last"]


def _colon(match: re.Match[str]) -> str:
    """1:23:45 is a duration; 2:1 a ratio; 75:30 minutes and seconds."""
    parts = match.group().split(":")
    if len(parts) == 3 and all(len(part) == 2 for part in parts[1:]):
        names = ("hour", "minute", "second")
        counts = [int(part) for part in parts]
        said = [
            f"{cardinal(n)} {name}{'' if n == 1 else 's'}" for n, name in zip(counts, names, strict=True) if n
        ]
        return " ".join(said) or "zero seconds"
    if len(parts) == 2 and len(parts[1]) == 2 and parts[1][0] != "0":
        return f"{cardinal(int(parts[0]))} {cardinal(int(parts[1]))}"
    return " to ".join(cardinal(int(part)) for part in parts)


_HOURS = r"(?P<first>1[0-2]|[1-9])"
TIMES: list[Rule] = [
    rule(rf"(?<=\d){DASH}(?=\d\d?:\d\d(?!\d))", " to "),
    rule(rf"(?<=\d[AaPp][Mm]){DASH}(?=\d)", " to "),
    rule(rf"(?<=\d\s[AaPp][Mm]){DASH}(?=\d)", " to "),
    rule(rf"(?<=[AaPp]\.[Mm]\.){DASH}(?=\d)", " to "),
    rule(
        rf"(?<![\w.,:/$€£-]){_HOURS}{DASH}(?P<last>(?:1[0-2]|[1-9])\s?[AaPp](?:\.[Mm]\.|[Mm]\b))",
        _span,
    ),
    rule(rf"{_HOUR}[:.]{_MINUTE}{_HALF}", _time),
    rule(rf"{_HOUR}:{_MINUTE}(?P<half>)(?![\w%°]|[:.,/-]\d|\s?[:=]\s?\d)", _time),
    rule(rf"(?<![\w.,:/$€£])(?P<hour>1[0-2]|0?[1-9]){_HALF}", _half_hour),
    rule(r"(?<![\w.,:/$€£-])\d{1,3}(?::\d{1,3}){1,2}(?![\w%°]|[:.,]\d)", _colon),
]
