"""English text as words: what every model is given instead of digits, signs and abbreviations."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployments.text.abbreviations import stop_ends_sentence
from deployments.text.clauses import split_paragraphs
from deployments.text.english.abbreviations import ABBREVIATIONS
from deployments.text.english.addresses import ADDRESSES
from deployments.text.english.characters import RAISED_FRACTIONS, plain_characters
from deployments.text.english.codes import CODES, TELEPHONES
from deployments.text.english.counts import COUNTS, NUMBERS
from deployments.text.english.dates import DATES, NUMERIC_DATES, YEARS
from deployments.text.english.fractions import FRACTIONS
from deployments.text.english.grouping import GROUPING
from deployments.text.english.measures import MEASURES
from deployments.text.english.money import MONEY
from deployments.text.english.numbers import spell
from deployments.text.english.roman import ROMANS
from deployments.text.english.rules import Reading, apply, reading
from deployments.text.english.signs import ARITHMETIC, SIGNS
from deployments.text.english.times import TIMES

# In this order: what is read as a whole comes before its parts.
_READINGS: list[Reading] = [
    reading(r"[.@]", ADDRESSES),
    reading(r"[./]|\b(?:St|Jr|Sr|Mrs?|Dr|vs|No)\b", ABBREVIATIONS),
    reading(r"[IVX]|\([ivx]", ROMANS),
    reading(r"[⁰¹²³⁴⁵⁶⁷⁸⁹]", RAISED_FRACTIONS),
    reading(r"\d", NUMERIC_DATES),
    reading(r"\d", TELEPHONES),
    reading(r"\d[., '’_\u00a0\u2007-\u2009\u202f]\d", GROUPING),
    reading(r"\d", TIMES),
    reading(r"\d", DATES),
    reading(r"[$€£¥₹₽₩₿₺₪₴₦₱฿₫¢]|[A-Z]{3}", MONEY),
    reading(r"\d|\b[kmMGg]\w*/", MEASURES),
    reading(r"[-+*=<>~^×÷±√≠≈≤≥−#⁰¹²³⁴-⁹⁺⁻]|\d[eExX ]", ARITHMETIC),
    reading(r"\d/", FRACTIONS),
    reading(r"\d", YEARS),
    reading(r"\d", COUNTS),
    reading(r"\d", CODES),
    reading(r"\d", NUMBERS),
    reading(r"[^\w\s.,;:!?'’“”\"()-]|_|[\u0370-\u03ff]", SIGNS),
]
# `<word|reading>` is for the model itself.
_ANNOTATION = re.compile(r"(<[^|>\n]+\|[^>\n]+>)")
# What some rule may match.
_READ = re.compile(
    r"[^A-Za-z ,;:!?'’“”\"()-]|[IVXLC]{2}|[A-Z][a-z]+ [IVX]\b|\b(?:vs|[JS]r|Dr|Mrs?|Prof|St)\b"
)
_SENTENCE_END = re.compile(r"\b([a-z]{2,})[.!?] (?=[A-Z])")
# Longer ones are no numbers, and patterns would go through them again and again.
_LONG_DIGITS = re.compile(r"\d{41,}")
# A sentence that begins with a number begins with a capital: that tells sentences apart where the text is cut.
_START_MARK = "\ufdd0"  # no character, so in no text
_NUMBER_FIRST = re.compile(
    r"(?:^|(?P<word>[\w.]{0,24})(?P<end>[.!?…])[\"'”’)]*\s)[\"'“‘(]*(?=[-\u2212]?[^\w\s\"'“‘(.,!?…-]?\.?[\d])"
)
_MARKED = re.compile(f"{_START_MARK}([^\\w]*)(.?)")
_GAPS = re.compile(r" {2,}")
_GAP_BEFORE_MARK = re.compile(r" +(?=[,.;:!?)]|$)")


def normalize_english(text: str) -> str:
    """The text with every number, date, amount, unit, address and sign in words: no digit is left.

    Each paragraph comes on a line of its own, with single spaces and a blank line after it. Words, punctuation and
    `<word|reading>` are left as they are, and normalised text stays as it is. Never fails.
    """
    return "\n\n".join(_paragraph(paragraph) for paragraph in split_paragraphs(text))


def _paragraph(text: str) -> str:
    parts = _ANNOTATION.split(text)
    return "".join(part if index % 2 else _spoken(part) for index, part in enumerate(parts)).strip()


def _spoken(text: str) -> str:
    return " ".join(_sentence(sentence) for sentence in _sentences(text))


def _sentences(text: str) -> Iterator[str]:
    """Sentences that can be read each on its own: most have nothing to be read. Quotations are kept together."""
    start = 0
    for end in _SENTENCE_END.finditer(text):
        whole = text.count('"', start, end.start()) % 2 == 0
        if whole and stop_ends_sentence(end[1], "A", opens_paragraph=False):
            yield text[start : end.end() - 1]
            start = end.end()
    yield text[start:]


def _sentence(text: str) -> str:
    if not _READ.search(text, 0, len(text) - 1 if text.endswith(".") else len(text)):
        return text
    text = _LONG_DIGITS.sub(
        lambda match: f" {spell(match.group())} ", plain_characters(text.replace(_START_MARK, ""))
    )
    text = apply(_READINGS, _NUMBER_FIRST.sub(_marked, text))
    text = _MARKED.sub(lambda match: match.group(1) + match.group(2).upper(), text)
    return _GAP_BEFORE_MARK.sub("", _GAPS.sub(" ", text))


def _marked(match: re.Match[str]) -> str:
    abbreviated = match["end"] == "." and not stop_ends_sentence(match["word"], "1", opens_paragraph=False)
    return match.group() + ("" if abbreviated else _START_MARK)
