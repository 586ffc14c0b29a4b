"""Abbreviations in full, and the word "no" told from "number"."""

from __future__ import annotations

import re

from deployments.text.english.rules import Rule, alternatives, rule

# Before a name.
_TITLES = {
    "Mr": "Mister",
    "Mrs": "Missus",
    "Dr": "Doctor",
    "Prof": "Professor",
    "Rev": "Reverend",
    "Hon": "Honorable",
    "Pres": "President",
    "Gov": "Governor",
    "Sen": "Senator",
    "Rep": "Representative",
    "Gen": "General",
    "Col": "Colonel",
    "Maj": "Major",
    "Capt": "Captain",
    "Cpt": "Captain",
    "Lt": "Lieutenant",
    "Sgt": "Sergeant",
    "Cmdr": "Commander",
    "Adm": "Admiral",
    "Mt": "Mount",
    "Ft": "Fort",
    "St": "Saint",
    "Sta": "Santa",
}
# After a name.
_STREETS = {
    "St": "Street",
    "Ave": "Avenue",
    "Blvd": "Boulevard",
    "Rd": "Road",
    "Dr": "Drive",
    "Ln": "Lane",
    "Hwy": "Highway",
    "Sq": "Square",
    "Pl": "Place",
    "Ct": "Court",
    "Pkwy": "Parkway",
}
_ENDINGS = {
    "Jr": "Junior",
    "Sr": "Senior",
    "Inc": "Incorporated",
    "Ltd": "Limited",
    "Corp": "Corporation",
    "Co": "Company",
    "Bros": "Brothers",
    "Esq": "Esquire",
}
_ANYWHERE = {
    "vs": "versus",
    "approx": "approximately",
    "dept": "department",
    "govt": "government",
    "est": "established",
    "etc": "et cetera",
    "e.g": "for example",
    "i.e": "that is",
    "cf": "compare",
    "viz": "namely",
    "a.k.a": "also known as",
    "w.r.t": "with respect to",
    "min": "minimum",
    "max": "maximum",
    "misc": "miscellaneous",
    "incl": "including",
    "excl": "excluding",
    "tel": "telephone",
    "ext": "extension",
    "assn": "association",
    "univ": "university",
    "intl": "international",
}
_BEFORE_NUMBERS = {
    "no": "number",
    "nos": "numbers",
    "nr": "number",
    "p": "page",
    "pp": "pages",
    "pg": "page",
    "ch": "chapter",
    "chap": "chapter",
    "sec": "section",
    "fig": "figure",
    "figs": "figures",
    "eq": "equation",
    "vol": "volume",
    "vols": "volumes",
    "art": "article",
    "op": "opus",
    "ca": "circa",
    "apt": "apartment",
    "ste": "suite",
    "rm": "room",
    "ver": "version",
    "ed": "edition",
    "mk": "mark",
    "par": "paragraph",
}
_DAYS = {
    "Mon": "Monday",
    "Tue": "Tuesday",
    "Tues": "Tuesday",
    "Wed": "Wednesday",
    "Thu": "Thursday",
    "Thur": "Thursday",
    "Thurs": "Thursday",
    "Fri": "Friday",
    "Sat": "Saturday",
    "Sun": "Sunday",
}
_MONTHS = {
    "Jan": "January",
    "Feb": "February",
    "Mar": "March",
    "Apr": "April",
    "Jun": "June",
    "Jul": "July",
    "Aug": "August",
    "Sep": "September",
    "Sept": "September",
    "Oct": "October",
    "Nov": "November",
    "Dec": "December",
}


def _ended(match: re.Match[str], words: str) -> str:
    """The words, with the stop kept where it ends the sentence as well."""
    following = match.string[match.end() :].lstrip("\"'”’) ")[:1]
    return words + ("." if not following or following.isupper() else "")


def _cased(words: str, like: str) -> str:
    return words[0].upper() + words[1:] if like[0].isupper() else words


def _anywhere(match: re.Match[str]) -> str:
    words = _cased(_ANYWHERE[match["short"].lower()], match["short"])
    return _ended(match, words) if words.endswith("cetera") else words


def _street(match: re.Match[str]) -> str:
    return match["name"] + _ended(match, _STREETS[match["short"]])


def _ending(match: re.Match[str]) -> str:
    words = _ENDINGS[match["short"]]
    following = match.string[match.end() :]
    stop = "." if not following.strip("\"'”’) ") else ""
    return words + stop


def _before_number(match: re.Match[str]) -> str:
    words = _BEFORE_NUMBERS[match["short"].lower()]
    return (words if match.start() else words.capitalize()) + " "


_STREET = alternatives(_STREETS)
_STREET_NAME = (
    r"(?P<name>(?:\b(?!(?:The|In|On|At|And|To|From|By|For|With|Of|Near|Is|Was)\b)[A-Z][a-z]+"
    r"|\d(?:st|nd|rd|th)) )"
)
# Those that may begin a sentence.
_CAPITAL = ("Vs", "Approx", "E.g", "I.e", "Cf", "Dept", "Tel", "Ext", "Incl")
ABBREVIATIONS: list[Rule] = [
    rule(rf"\b(?P<short>{alternatives(_BEFORE_NUMBERS)})\.\s?(?=\d)", _before_number, ignore_case=True),
    rule(r"\b(?P<short>[Nn]o)\.\s(?=[A-Z]?\d)", _before_number),
    rule(r"\b(?P<short>[Nn]os?) (?=\d+ (?:on|in|of) )", _before_number),
    rule(rf"{_STREET_NAME}(?P<short>{_STREET})\.(?=\s*(?:[,;:!?)a-z]|$))", _street),
    rule(rf"(?:(?<=\d )|(?<=[Oo]n )){_STREET_NAME}(?P<short>{_STREET})\.(?=\s[A-Z])", _street),
    rule(rf"{_STREET_NAME}(?P<short>Ave|Blvd|Rd|Hwy|Pkwy|Ln)\.", _street),
    rule(
        rf"(?:(?<=\d )|(?<=[Oo]n )){_STREET_NAME}(?P<short>{_STREET})(?=[,;]|\s*$|\.$|\s(?:and|in|is|at|near)\b)",
        _street,
    ),
    rule(
        rf"\b(?P<short>{alternatives(_TITLES)})\.\s?(?=[A-Z&]|and [A-Z])", lambda m: _TITLES[m["short"]] + " "
    ),
    rule(r"\bSt (?=[A-Z][a-z])", "Saint "),
    rule(r"\b(?P<short>Mr|Mrs|Dr|Prof) (?=[A-Z])", lambda m: _TITLES[m["short"]] + " "),
    rule(r"\bMs\.\s?(?=[A-Z])", "Ms "),
    rule(r"\bMessrs\.?\s(?=[A-Z])", "Messieurs "),
    rule(rf"\b(?P<short>{alternatives(_ENDINGS)})\.", _ending),
    rule(r"\b(?P<short>Jr|Sr)\b(?!\.)", lambda m: _ENDINGS[m["short"]]),
    rule(r"\b(?P<short>[Ee]st)\.(?=\s(?!\d))", lambda m: _cased("estimated", m["short"])),
    rule(rf"(?<![\w.])(?<!\d )(?P<short>{alternatives((*_ANYWHERE, *_CAPITAL))})\.", _anywhere),
    rule(r"(?<![\w.])(?P<short>vs|VS)(?![\w.])", "versus"),
    rule(r"(?<![\w.])(?:[Vv]\.)(?= [A-Z])(?<=[a-z] [Vv]\.)", "versus"),
    rule(r"\bw/o\b", "without"),
    rule(r"\bw/\s?(?=\w)", "with "),
    rule(r"\bc/o\b", "care of"),
    rule(r"\b[Nn]/[Aa]\b", "not applicable"),
    rule(r"\band/or\b", "and or"),
    rule(r"\bPh\.?D\.?(?!\w)", "P H D"),
    rule(
        rf"\b(?P<short>{alternatives(_DAYS)})\.(?=,?\s(?:\d|{alternatives(_MONTHS)}))",
        lambda m: _DAYS[m["short"]],
    ),
    rule(rf"\b(?P<short>{alternatives(_MONTHS)})\.(?=\s[\d'’])", lambda m: _MONTHS[m["short"]]),
]
