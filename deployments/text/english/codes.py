"""Names made of letters and digits (A4, CO2, MP3, R2-D2, COVID-19), and numbers that are read digit by digit."""

from __future__ import annotations

import re

from deployments.text.english.numbers import code, spell
from deployments.text.english.rules import Rule, rule

LONGEST_ACRONYM = 3  # in a code; longer capitals are a word, as in COVID-19
_LONGEST_NAME = 12
_RUN = re.compile(r"\d+|[A-Z]+(?![a-z])|[^\W\d_]+")
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]+", re.IGNORECASE)


def letters(word: str) -> str:
    return " ".join(word.upper())


def _code(match: re.Match[str]) -> str:
    """Run by run; a long mixture, as of a checksum, character by character."""
    text = match.group()
    parts = _RUN.findall(text)
    if len(text) > _LONGEST_NAME and len(parts) > 4:
        return " ".join(spell(char) if char.isdecimal() else letters(char) for char in text if char.isalnum())
    return " ".join(_run(part) for part in parts)


def _run(part: str) -> str:
    if part.isdecimal():
        return code(part)
    short = len(part) <= LONGEST_ACRONYM
    if len(part) == 1 or (short and (part.isupper() or _CONSONANTS.fullmatch(part))):
        return letters(part)
    return part


def _groups(match: re.Match[str]) -> str:
    said = [spell(group) for group in re.findall(r"\d+", match["groups"])]
    return ("plus " if match.group().startswith("+") else "") + ", ".join(said)


def _dialled(match: re.Match[str]) -> str:
    """After a word such as "call" whatever is written in groups is a telephone number."""
    return match["word"] + ", ".join(spell(group) for group in re.findall(r"\d+", match["groups"]))


_KEYS = r"(?:pin code|pin|passcode|password|code|otp|zip code|zip|postcode|account number|card number|extension|ext)"
_DIAL = (
    rf"\b(?P<word>(?:call|dial|phone|tel|telephone|fax|mobile|cell|text|ring|whatsapp|hotline|{_KEYS})\b\.?"
    r"(?:\s(?:is|me at|us at|at|on|number|now|him at|her at))?[:#]?\s)"
)
_GAP = "[ \u00a0.-]"

TELEPHONES: list[Rule] = [
    rule(r"(?P<groups>\+\d[\d\s().-]{5,20}\d)(?!\w)", _groups),
    rule(
        rf"(?<![\w.,:/-])(?P<groups>(?:1{_GAP})?(?:\(\d{{3}}\)\s?-?|\d{{3}}{_GAP})\d{{3}}{_GAP}\d{{4}})(?![\w-])",
        _groups,
    ),
    rule(r"(?<![\w.,:/-])(?<!\d\s)(?P<groups>\(?0\d{1,4}\)?(?:[ -]\d{2,5}){1,4})(?![\w-])", _groups),
    rule(r"(?<![\w.,:/-])(?P<groups>555-\d{4})(?![\w-])", _groups),
    rule(r"(?<![\w.,:/-])(?P<groups>1-8\d\d)(?=-[A-Z])", _groups),
    # social security, bank cards
    rule(
        r"(?<![\w.,:/-])(?P<groups>\d{3}-\d{2}-\d{4}|\d{4}(?:[ -]\d{4}){2,4}|\d{4}[ -]\d{6}[ -]\d{5})(?![\w-])",
        _groups,
    ),
    rule(
        rf"\b(?P<word>{_KEYS}\b(?:\s(?:is|number))?[:#]?\s)(?P<groups>\d{{3,}})(?![\w%]|[,.]\d|[ -]\d)",
        _dialled,
        ignore_case=True,
    ),
    rule(
        _DIAL
        + r"(?P<groups>\d{3}(?!\d)(?![,.]\d|[ -]\d)|\d{2,5}(?:[ -]\d{2,5})+(?![\w-]|,\d)|\d{5,}(?![,.]?\d))",
        _dialled,
        ignore_case=True,
    ),
]

_LETTER = r"[^\W\d_]"
_CODE = rf"(?:{_LETTER}+\d+|\d+{_LETTER}+\d*)(?:[^\W_])*"
CODES: list[Rule] = [
    rule(r"(?<=[^\W\d_])-(?=\d+[^\W\d_])(?<![^\W_]\d[^\W\d_]-)", " "),
    # B2B, A4, 4K, R2-D2, i7-9700K
    rule(rf"(?<![\w]){_CODE}(?:-[^\W_]*\d[^\W_]*)*(?!\w)", _code),
    # F-16, COVID-19, and with letters only before: i-5
    rule(
        rf"(?<!\w)(?P<name>{_LETTER}+)-(?P<number>\d{{1,4}})(?![\w,]|\.\d)",
        lambda m: f"{_run(m['name'])} {code(m['number'])}",
    ),
]
