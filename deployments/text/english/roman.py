"""Roman numerals after what is numbered with them: Chapter IV, World War II, Henry VIII."""

from __future__ import annotations

import re

from deployments.text.english.numbers import cardinal, ordinal
from deployments.text.english.rules import Rule, alternatives, rule, words

_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_VALID = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_NUMBERED = alternatives(
    words(
        "Chapter Chap. Part Act Scene Volume Vol. Book Section Article Appendix Title Phase Type Class Stage Level "
        "Grade War Bowl Table Figure Fig. Canto Psalm Lesson Unit Episode Season Round Corps Army Division Schedule "
        "Annex Block Tier Category Group Mark Mk. Symphony Sonata Concerto Quartet Opus Op. Fantasy Rocky Star Apollo "
        "Gemini Titan Saturn Olympiad Games Factor Number No."
    )
)
_RULERS = alternatives(
    words(
        "Henry Louis Charles George Edward Richard James William Elizabeth Mary Philip Frederick Friedrich Wilhelm "
        "Francis Ferdinand Alexander Nicholas Peter Catherine Ivan Paul John Pius Benedict Gregory Leo Innocent "
        "Clement Urban Boniface Sixtus Julius Adrian Martin Eugene Victor Napoleon Leopold Albert Baldwin Otto Joseph "
        "Rudolf Rudolph Maximilian Alfonso Carlos Felipe Juan Pedro Manuel Umberto Emmanuel Christian Gustav Gustavus "
        "Haakon Harald Olav Oscar Carl Robert David Constantine Justinian Basil Michael Theodosius Ramses Ramesses "
        "Rameses Thutmose Amenhotep Ptolemy Cleopatra Darius Xerxes Cyrus Mithridates Tiberius Selim Suleiman Mehmed "
        "Murad Abdul Casimir Sigismund Stanislaus Wenceslaus Matthias Bela Margaret Isabella Anne Stephen Harold "
        "Edmund Rainier Hussein Abdullah Mohammed Tutankhamun"
    )
)
# Before one of these a letter is the pronoun or an initial.
_AFTER_ONE = (
    r"(?=\s*(?:[.,;:!?)'’]|$)|\s(?:of|was|and|in|had|ruled|became|died|is|or|with|to|from|reigned)\b)"
)
_FUNCTION_WORDS = (
    r"(?!(?:The|A|An|This|That|My|Your|His|Her|Our|Their|And|Or|But|If|When|In|On|At|By|For|To|Of|As|It|We|He|She|You"
    r"|They|Is|No)\b)"
)


def roman_value(numeral: str) -> int | None:
    """None for what is no numeral."""
    if not numeral or not _VALID.fullmatch(numeral):
        return None
    values = [_VALUES[char] for char in numeral]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))


def _numbered(match: re.Match[str]) -> str:
    value = roman_value(match["numeral"])
    return match.group() if value is None else f"{match['word']} {cardinal(value)}"


def _ruler(match: re.Match[str]) -> str:
    value = roman_value(match["numeral"])
    return match.group() if value is None else f"{match['word']} the {ordinal(value)}"


def _listed(match: re.Match[str]) -> str:
    value = roman_value(match["numeral"].upper())
    return match.group() if value is None else f"({cardinal(value)})"


ROMANS: list[Rule] = [
    rule(rf"\b(?P<word>{_NUMBERED}|{_NUMBERED.upper()})\s(?P<numeral>[IVXLC]+)(?![\w'’-])", _numbered),
    rule(rf"\b(?P<word>{_RULERS})\s(?P<numeral>[IVX]{{2,}}|[VX])(?![\w-])", _ruler),
    rule(rf"\b(?P<word>{_RULERS})\s(?P<numeral>I)(?![\w-]){_AFTER_ONE}", _ruler),
    # After any other name, if it cannot be a word or an initial.
    rule(
        rf"\b{_FUNCTION_WORDS}(?P<word>[A-Z][a-z]+)\s(?P<numeral>(?!XX+|MI|DI)[IVX]{{2,6}})(?![\w-])",
        _numbered,
    ),
    rule(r"\((?P<numeral>i{1,3}|iv|vi{0,3}|ix|x)\)", _listed),
]
