"""Signs as words: arithmetic, comparisons, "#5", "C#", "&", Greek letters, exponents."""

from __future__ import annotations

import re
import unicodedata

from deployments.text.english.characters import raised
from deployments.text.english.numbers import cardinal, number
from deployments.text.english.rules import Rule, rule

_MATHEMATICAL = {
    "×": "times",
    "÷": "divided by",
    "±": "plus or minus",
    "≠": "is not equal to",
    "≈": "is about",
    "≤": "is less than or equal to",
    "≥": "is greater than or equal to",
}
_OPERATORS = {
    **_MATHEMATICAL,
    "+": "plus",
    "=": "equals",
    "*": "times",
    "<": "is less than",
    ">": "is greater than",
    "<=": "is less than or equal to",
    ">=": "is greater than or equal to",
    "!=": "is not equal to",
    "==": "equals",
    "≡": "is equivalent to",
    "∝": "is proportional to",
    "∈": "is in",
}
_BEFORE = {
    "~": "about",
    "≈": "about",
    "<": "less than",
    ">": "greater than",
    "≤": "at most",
    "≥": "at least",
    "<=": "at most",
    ">=": "at least",
    "±": "plus or minus",
    "+": "plus",
    "√": "square root of",
    "=": "equals",
    "×": "times",
}
_ANYWHERE = {
    "@": "at",
    "°": "degrees",
    "§": "section",
    "∞": "infinity",
    "√": "square root of",
    **_MATHEMATICAL,
    "€": "euros",
    "£": "pounds",
    "¥": "yen",
    "₹": "rupees",
    "$": "dollars",
    "¢": "cents",
    "%": "percent",
    "‰": "per mille",
    "©": "copyright",
    "∑": "sum",
    "∏": "product",
    "∫": "integral",
    "∂": "partial",
    "∆": "delta",
    "µ": "micro",
}
_GREEK = re.compile(r"(?<![\u0370-\u03ff\u1f00-\u1fff])[Α-Ωα-ω](?![\u0370-\u03ff\u1f00-\u1fff])")
_POWERS = {"2": "squared", "3": "cubed"}


def _spaced(words: str) -> str:
    return f" {words} "


def _power(match: re.Match[str]) -> str:
    power = raised(match["power"]) if "power" in match.groupdict() and match["power"] else match["digits"]
    if power in _POWERS:
        return f" {_POWERS[power]} "
    minus = "minus " if power[0] in "-" else ""
    digits = re.sub(r"\D", "", power)
    return f" to the power of {minus}{cardinal(int(digits))} " if digits else match.group()


def _scientific(match: re.Match[str]) -> str:
    minus = "minus " if match["minus"] == "-" else ""
    return f"{number(match['amount'])} times ten to the power of {minus}{cardinal(int(match['power']))}"


def _greek_name(match: re.Match[str]) -> str:
    name = unicodedata.name(match.group()).split()[-1].lower()
    return _spaced({"lamda": "lambda"}.get(name, name))


_OPERAND = r"[\w)\]²³π√∞.]"
_OPERATOR = "|".join(sorted(map(re.escape, _OPERATORS), key=len, reverse=True))
# Before fractions, ranges and numbers.
ARITHMETIC: list[Rule] = [
    rule(r"(?<!\w)#(?=\d)", "number "),
    rule(r"(?<![\w.,])(?P<amount>\d+(?:\.\d+)?)[eE](?P<minus>[+-]?)(?P<power>\d{1,3})(?![\w.])", _scientific),
    rule(r"(?<=[\w)\]])\^\(?(?P<digits>[-\u2212]?\d+)\)?", _power),
    rule(r"(?<=[\w)\]])(?P<power>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)(?=\w)", _power),
    rule(r"(?<=[\w)\]])(?P<power>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", lambda m: _power(m).rstrip()),
    rule(r"[⁺⁻]?(?P<power>[⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: f" {cardinal(int(raised(m['power'])))} "),
    rule(r"[⁺⁻]", " "),
    rule(r"(?<=\d)\s?\u2212\s?(?=\d)", " minus "),
    rule(r"(?<=[\w)]) [-\u2013] (?=[\w(]{1,20}(?: [-+*/×÷\u2013] [\w(]{1,20}){0,6} = )", " minus "),
    rule(r"(?<=[\w)])-(?=\d+ ?= ?[\w(])", " minus "),
    rule(r"(?<== )(?P<a>\w+) - (?=\w)", r"\g<a> minus "),
    rule(r"(?<=\d) / (?=\d)", " divided by "),
    rule(r"(?<=\d)\s?[x×](?=\s?\d+\s?=)", " times "),
    rule(r"(?<=\d)[x×](?=\d)", " by "),
    rule(r"(?<=\d) x (?=\d)", " by "),
    rule(
        r"(?<![\w.,])(?P<amount>\d+(?:\.\d+)?)[x×](?!\w|\s?[-+*/=^²³])",
        lambda m: f"{number(m['amount'])} times",
    ),
    rule(r"(?<=\d)\*(?=\d)", " times "),
    rule(
        rf"(?<={_OPERAND})(?: (?P<spaced>{_OPERATOR}) |(?P<tight>[+=×÷±≠≈≤≥<>]|[<>!=]=))(?=[-\u2212(]?[\w√π.∞])",
        lambda m: _spaced(_OPERATORS[m["spaced"] or m["tight"]]),
    ),
    rule(
        r"(?<![\w)])(?P<sign>[~≈<>≤≥±+√=×]|[<>]=)\s?(?=[-\u2212]?\.?[$€£]?\d)",
        lambda m: f"{_BEFORE[m['sign']]} ",
    ),
]
SIGNS: list[Rule] = [
    rule(r"\b([A-Z])([A-Z])\s?&(?=\s?[A-Z]\b)", r"\1 \2 and "),
    rule(r"\b([A-Z])&([A-Z])\b", r"\1 and \2"),
    rule(r"\s?&\s?", " and "),
    rule(r"\b([A-GJ])#(?!\w)", r"\1 sharp"),
    rule(r"\b([A-G])♯(?!\w)", r"\1 sharp"),
    rule(r"\b([A-G])♭(?!\w)", r"\1 flat"),
    rule(r"\b([A-Z])\+\+", r"\1 plus plus"),
    rule(r"\b([A-F])\+(?!\w)", r"\1 plus"),
    rule(r"(?<!\w)#(?=[^\W\d_])", "hashtag "),
    rule(r"(?<=\w)#(?=\w)", " number "),
    rule(r"(?<=\w)\+(?!\w)", " plus"),
    rule(r"§§?\s?", "section "),
    rule(r"(?<=[^\W_])_+(?=[^\W_])", " underscore "),
    rule(r"(?<=[a-z])/(?=[a-z])", " slash "),
    rule(rf"\s?([{''.join(map(re.escape, _ANYWHERE))}])\s?(?=\w)", lambda m: _spaced(_ANYWHERE[m.group(1)])),
    rule(rf"\s?([{''.join(map(re.escape, _ANYWHERE))}])", lambda m: f" {_ANYWHERE[m.group(1)]}"),
    Rule(_GREEK, _greek_name),
]
