"""Dates, years and decades."""

from __future__ import annotations

import re

from deployments.text.english.numbers import DASH, cardinal, ordinal, pair, plural, year
from deployments.text.english.rules import Rule, rule

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SHORT = {
    **{month[:3]: month for month in MONTHS},
    "Sept": "September",
}
_MONTH = rf"(?P<month>{'|'.join(MONTHS)}|(?:{'|'.join(_SHORT)})\b\.?)"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[12]\d{3})(?![\w]|[.,]\d|[-/]\d)"
_LAST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# Before a number of four digits these make it a year.
_BEFORE_YEAR = (
    r"(?:in|since|until|till|circa|during|by|from|of|year|before|after|the|around|early|late|mid|spring|summer|autumn"
    r"|fall|winter|©|copyright|between|and|to|AD|anno|class)"
)
_COUNT_WORDS = re.compile(
    r"(?:only|about|over|under|nearly|almost|some|exactly|than|least|most|approximately|roughly|up to|all|"
    r"these|those|another|first|last|next|were|are|with|have|has|had|sold|won|lost|bought|need|needs|every)\s$",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"\s(?:(?:[a-z]+ )?(?:people|men|women|children|feet|percent|dollars|euros|pounds|million|billion)\b|"
    r"(?!(?:was|is|has|as|its|this|does|less|across|always|perhaps|plus|versus|towards|series|process|edition|us|thus|"
    r"his|yes|s)\b)[a-z]{2,}(?<!s)s\b)"
)


def _spoken_date(day: str, month: int, said_year: str | None, *, of: bool = False) -> str:
    said = ordinal(int(day))
    name = MONTHS[month - 1]
    whole = f"{said} of {name}" if of else f"{name} {said}"
    if not said_year:
        return whole
    return f"{whole} {said_year}" if of else f"{whole}, {said_year}"


def _short_year(digits: str) -> str:
    if len(digits) == 4:
        return year(digits)
    return year(("20" if int(digits) < 70 else "19") + digits)


def _numeric(match: re.Match[str]) -> str:
    """Month, day, year as in America, unless only the other order is a date."""
    first, second = int(match["first"]), int(match["second"])
    day_first = match["sep"] == "." or first > 12
    day, month = (first, second) if day_first else (second, first)
    if not 1 <= month <= 12 or not 1 <= day <= _LAST_DAYS[month - 1]:
        return match.group()
    return _spoken_date(str(day), month, _short_year(match["year"]))


def _iso(match: re.Match[str]) -> str:
    month, day = int(match["month"]), int(match["day"])
    if not 1 <= month <= 12 or not 1 <= day <= _LAST_DAYS[month - 1]:
        return match.group()
    return _spoken_date(match["day"], month, year(match["year"])) + (" " if match["time"] else "")


def _month_number(name: str) -> int:
    return MONTHS.index(_SHORT.get(name.rstrip("."), name)) + 1


def _month_day(match: re.Match[str]) -> str:
    said = _spoken_date(match["day"], _month_number(match["month"]), None)
    if match["until"]:
        said += f" to {ordinal(int(match['until']))}"
    if match["year"]:
        said += f", {year(match['year'])}"
    return said


def _day_month(match: re.Match[str]) -> str:
    said = ordinal(int(match["day"]))
    if match["until"]:
        said += f" to {ordinal(int(match['until']))}"
    the = "" if match["the"] else "the "
    ending = f" {year(match['year'])}" if match["year"] else ""
    return f"{match['the'] or ''}{the}{said} of {MONTHS[_month_number(match['month']) - 1]}{ending}"


def _month_year(match: re.Match[str]) -> str:
    return f"{MONTHS[_month_number(match['month']) - 1]} {year(match['year'])}"


def _decade(match: re.Match[str]) -> str:
    century, digits = match["century"] or "", match["decade"]
    tens = "hundreds" if digits == "00" else plural(cardinal(int(digits)))
    if century == "" and digits == "00":
        return "two thousands"
    if century and int(century) % 10 == 0 and digits == "00":
        return plural(cardinal(int(century + digits)))
    return f"{cardinal(int(century))} {tens}" if century else tens


def _year_range(match: re.Match[str]) -> str:
    last = match["last"]
    if len(last) == 2 and int(last) <= int(match["first"][2:]):
        return match.group()
    return f"{year(match['first'])} to {year(last) if len(last) == 4 else pair(last)}"


def _likely_year(match: re.Match[str]) -> str:
    """A number of four digits alone: a year, unless things are counted."""
    digits, text = match["year"], match.string
    named = re.search(
        rf"\b{_BEFORE_YEAR}\s$", text[max(0, match.start() - 12) : match.start()], re.IGNORECASE
    )
    counted = _COUNTED.match(text, match.end()) or _COUNT_WORDS.search(
        text, max(0, match.start() - 16), match.start()
    )
    strong = named and named.group().strip().lower() in ("in", "since", "until", "year", "during", "circa")
    if strong or (not counted and (named or int(digits) >= 1800)):
        return year(digits)
    return match.group()


# Before telephone numbers.
NUMERIC_DATES: list[Rule] = [
    rule(
        r"(?<![\w./-])(?P<year>[12]\d{3})[-/](?P<month>\d{2})[-/](?P<day>\d{2})(?:(?P<time>T)(?=\d)|(?![\w/-]))",
        _iso,
    ),
    rule(
        r"(?<![\w./-])(?P<first>\d{1,2})(?P<sep>[/.-])(?P<second>\d{1,2})(?P=sep)(?P<year>[12]\d{3})(?![\w/-]|\.\d)",
        _numeric,
    ),
    rule(
        r"(?<![\w./-])(?P<first>\d{1,2})(?P<sep>/)(?P<second>\d{1,2})/(?P<year>\d{2})(?![\w/-]|\.\d)",
        _numeric,
    ),
]
DATES: list[Rule] = [
    rule(
        r"(?<![\w./,-])(?P<month>0?[1-9]|1[0-2])/(?P<year>(?:19|20)\d\d)(?![\w/]|[.,]\d)",
        lambda m: f"{MONTHS[int(m['month']) - 1]} {year(m['year'])}",
    ),
    rule(
        rf"\b{_MONTH}\s{_DAY}(?:{DASH}(?P<until>[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?)?(?![\w%:/]|[.,]\d)(?:,?\s{_YEAR})?",
        _month_day,
    ),
    rule(
        rf"(?P<the>\b[Tt]he )?(?<![\w.,:/$€£'-]){_DAY}(?:{DASH}(?P<until>[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?)?"
        rf"(?: of)?\s{_MONTH}(?!\w)(?:,?\s{_YEAR})?",
        _day_month,
    ),
    rule(rf"\b{_MONTH},?\s{_YEAR}", _month_year),
    rule(r"(?<![\w.,$€£-])(?P<century>1\d|20)?['’]?(?P<decade>\d0)['’]?s\b", _decade),
    rule(r"(?<!\w)['’‘](?P<century>)(?P<decade>\d0)['’]?s\b", _decade),
    rule(r"(?<=\w-)(?P<century>1\d|20)(?P<decade>\d0)s\b", _decade),
    rule(r"(?<!\w)['’‘](?P<year>\d{2})(?![\w'’\"″]|[.,]\d)", lambda m: pair(m["year"])),
    rule(
        rf"(?<![\w.,:/$€£-])(?P<first>1[1-9]\d\d|20\d\d){DASH}(?P<last>(?:1[1-9]|20)?\d\d)(?![\w-]|[.,/]\d)",
        _year_range,
    ),
    rule(
        r"(?<![\w.,:/$€£-])(?P<first>1[89]\d\d|20\d\d)/(?P<last>\d\d)(?![\w/-]|[.,]\d)",
        lambda m: f"{year(m['first'])} {pair(m['last'])}",
    ),
]
# After amounts and measures.
YEARS: list[Rule] = [
    rule(
        r"(?<![\w.,:/$€£+*=<>-])(?P<year>1\d{3}|20\d\d)(?![\w%°:/'\"-]|[.,]\d|\s?[-+*=<>×÷/^]\s?\d|\s?[€$£])",
        _likely_year,
    ),
]
