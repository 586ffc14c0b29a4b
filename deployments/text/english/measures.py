"""Numbers with units: 90 km/h, 5 kg, 21 °C, 5'10", 40° N."""

from __future__ import annotations

import re

from deployments.text.english.numbers import DASH, MINUS, NUMBER, cardinal, fraction, is_one, number
from deployments.text.english.rules import Rule, alternatives, rule
from deployments.text.english.units import PER, UNITS, WORD_LIKE

_UNIT = alternatives(name for name in UNITS if name not in WORD_LIKE)
_PER = alternatives(PER)
_AFTER_UNIT = r"(?![A-Za-z0-9'’]|\^|[²³])"
_POWERS = {"²": "square", "2": "square", "³": "cubic", "3": "cubic"}
_OPEN_QUOTE = re.compile(r"(?:^|[\s(])[\"“](?!\s)[^\"”]*$")
_OPEN_SINGLE = re.compile(r"(?:^|[\s(])['‘](?!\s)(?!\d0s)(?:[^'’]|(?<=\w)['’](?=\w))*$")
_NOUN = re.compile(
    r" (?!(?:and|or|by|x|to|in|on|at|of|for|with|tall|high|wide|long|deep|thick|is|was)\b)[a-z]"
)
_LENGTHS = alternatives(("mm", "cm", "m", "km", "in", "ft", "mi", "yd", "nm", "µm", "dm"))


def _named(unit: str, per: str | None, *, one: bool) -> str:
    singular, plural = UNITS[unit]
    said = singular if one else plural
    return f"{said} per {PER[per]}" if per else said


def _measure(match: re.Match[str]) -> str:
    amount = match["amount"]
    one = is_one(amount) or bool(match["hyphen"])
    said = f"{number(amount)} {_named(match['unit'], match['per'], one=one)}"
    return f"{_first(match)}{said}"


def _powered(match: re.Match[str]) -> str:
    singular, plural = UNITS[match["unit"]]
    name = singular if is_one(match["amount"]) else plural
    return f"{_first(match)}{number(match['amount'])} {_POWERS[match['power']]} {name}"


def _first(match: re.Match[str]) -> str:
    """Of a range whose unit stands at its end."""
    return f"{number(match['first'])} to " if match["first"] else ""


def _of_fraction(match: re.Match[str]) -> str:
    said = fraction(int(match["n"]), int(match["d"]))
    one, many = UNITS[match["unit"]] if match["unit"] in UNITS else UNITS["in"]
    minus = "minus " if match["minus"] else ""
    if match["whole"]:
        return f"{minus}{cardinal(int(match['whole']))} and {_a(said)} {many}"
    return f"{minus}{said} {one}"


def _a(said: str) -> str:
    return said.replace("one ", "a ", 1) if said in ("one half", "one quarter") else said


def _feet(match: re.Match[str]) -> str:
    feet = f"{number(match['feet'])} {'foot' if is_one(match['feet']) else 'feet'}"
    if not match["inches"]:
        return feet
    return f"{feet} {_inches(match['inches'])}"


def _inches(amount: str) -> str:
    whole, _, part = amount.partition(" ")
    if part:
        numerator, denominator = map(int, part.split("/"))
        return f"{cardinal(int(whole))} and {_a(fraction(numerator, denominator))} inches"
    return f"{number(amount)} inch" + ("" if is_one(amount) else "es")


def _inch_mark(match: re.Match[str]) -> str:
    """A double quote after a number closes a quotation if one is open."""
    if _OPEN_QUOTE.search(match.string, 0, match.start()):
        return match.group()
    if _NOUN.match(match.string, match.end()):  # a 27" monitor
        return f"{_first(match)}{number(match['amount'])} inch"
    return _first(match) + _inches(match["amount"])


def _foot_mark(match: re.Match[str]) -> str:
    """A single quote after a number closes a quotation if one is open."""
    return match.group() if _OPEN_SINGLE.search(match.string, 0, match.start()) else _feet(match)


def _position(match: re.Match[str]) -> str:
    said = f"{number(match['degrees'])} degree" + ("" if is_one(match["degrees"]) else "s")
    for name in ("minute", "second"):
        if amount := match[f"{name}s"]:
            said += f" {number(amount)} {name}" + ("" if is_one(amount) else "s")
    toward = (
        {"N": "north", "S": "south", "E": "east", "W": "west"}[match["toward"]] if match["toward"] else ""
    )
    return f"{said} {toward}".rstrip()


def _degrees(match: re.Match[str]) -> str:
    scale = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin", "": ""}[match["scale"] or ""]
    degrees = "degree" if is_one(match["amount"]) else "degrees"
    return f"{_first(match)}{number(match['amount'])} {degrees}{scale}"


_START = r"(?<![\w.,$€£/])"
_RANGE = rf"(?:(?P<first>{MINUS}{NUMBER}){DASH})?(?P<amount>{MINUS}{NUMBER})"
_INCHES = r"(?P<inches>\d{1,2}(?: \d/\d\d?|\.\d+)?)"
MEASURES: list[Rule] = [
    rule(
        rf"{_START}(?P<degrees>{NUMBER})\s?°\s?(?:(?P<minutes>{NUMBER})\s?['’]\s?(?:(?P<seconds>{NUMBER})\s?(?:[\"”]|'')\s?)?)?"
        r"(?P<toward>[NSEW])(?!\w)",
        _position,
    ),
    rule(
        rf"{_START}(?P<degrees>\d+)°\s?(?P<minutes>\d+)['’](?:\s?(?P<seconds>{NUMBER})(?:[\"”]|''))?(?P<toward>)",
        _position,
    ),
    rule(rf"{_START}{_RANGE}\s?°(?:\s?(?P<scale>[CFK])\b)?", _degrees),
    rule(rf"{_START}{_RANGE}\s(?P<scale>[CF])(?= (?:degrees|outside|today)\b)", _degrees),
    rule(rf"{_START}(?P<feet>\d+)\s?['’]\s?-?{_INCHES}\s?(?:[\"”]|''|’’)", _feet),
    rule(rf"{_START}(?P<feet>\d+)['’]{_INCHES}(?!\w|[.,]\d)", _feet),
    rule(
        rf"{_START}(?P<feet>\d+)\s?-?(?:ft|feet|foot)\.?\s?{_INCHES}\s?-?(?:in\b(?:\.(?!\s*$|\s[A-Z]))?|inch(?:es)?\b)",
        _feet,
    ),
    rule(
        r"(?<!['‘\w.,$€£/])(?P<feet>\d+)['’](?P<inches>)(?=\s(?:x|×|tall|high|wide|long|deep|board|ceiling|by)\b)",
        _feet,
    ),
    rule(rf"{_START}(?:(?P<first>{NUMBER}){DASH})?(?P<amount>{NUMBER})(?:''|[\"”])(?!\w)", _inch_mark),
    rule(
        rf"{_START}(?:(?P<first>{NUMBER}){DASH})?(?P<amount>{NUMBER})(?P<hyphen>[\s-])in\b\.?(?P<per>)(?=[,;)]|$|\.$|\s(?:wide|long|tall|high|deep|thick)\b)",
        lambda m: _first(m) + _inches(m["amount"]),
    ),
    rule(
        rf"{_START}(?P<minus>{MINUS})(?:(?P<whole>\d+)[\s-])?(?P<n>\d{{1,2}})/(?P<d>\d{{1,3}})\s?(?P<unit>[\"”])(?!\w)",
        _of_fraction,
    ),
    rule(r"(?<!['‘\w.,$€£/])(?P<feet>\d+)['’](?P<inches>)(?![\w\"”'’])", _foot_mark),
    rule(
        rf"{_START}(?P<minus>{MINUS})(?:(?P<whole>\d+)\s)?(?P<n>\d{{1,2}})/(?P<d>\d{{1,3}})\s?-?(?P<unit>{_UNIT}){_AFTER_UNIT}\.?(?!\s[A-Z])",
        _of_fraction,
    ),
    rule(rf"{_START}{_RANGE}\s?(?P<unit>{_LENGTHS})(?P<power>[²³]|(?<=m)[23])(?!\w)", _powered),
    rule(
        rf"{_START}{_RANGE}\s?(?:sq\.?|square)\s?(?P<unit>{_LENGTHS})\b\.?(?P<power>)",
        lambda m: f"{_first(m)}{number(m['amount'])} square {UNITS[m['unit']][1]}",
    ),
    rule(
        rf"{_START}{_RANGE}(?:\s|(?P<hyphen>-))?(?!(?<=\d)(?<!\.\d)(?<!\.\d\d)s\b)(?P<unit>{_UNIT})(?:\s?/\s?(?P<per>{_PER}))?{_AFTER_UNIT}",
        _measure,
    ),
    # Without a number: measured in km/h
    rule(
        r"(?<![\w/])(?P<unit>km|m|mi|kg|g|mg|MB|GB|Mb|Gb|kB|KB)/(?P<per>h|s|min|L|l|m³|kg|day)(?![\w/])",
        lambda m: _named(m["unit"], m["per"], one=False),
    ),
]
