"""Letters and marks that a vocabulary lacks, as those that it has."""

from __future__ import annotations

import unicodedata
from collections.abc import Set

_LETTERS = {
    "ß": "SS",
    "Ø": "O",
    "Æ": "AE",
    "Œ": "OE",
    "Ł": "L",
    "Đ": "D",
    "Þ": "TH",
    "Ð": "D",
    "ẞ": "SS",
    "Ħ": "H",
    "Ŋ": "NG",
}
DASHES = "‐‑‒–―−"
QUOTES = "„‚«»‹›‟‛`´"
_MARKS = {
    **dict.fromkeys(DASHES, "-"),
    **dict.fromkeys(QUOTES, "'"),
    **dict.fromkeys("¡¿", ""),
    **dict.fromkeys("•‧∙", ","),
    "‥": "…",
    "…": "...",
    "؟": "?",
    "'": "",
    '"': "'",
}


def spell_with(text: str, characters: Set[str]) -> str:
    """Upper-case text in letters of the vocabulary where an accent alone is missing: CAFÉ as CAFE. The rest stays."""
    if set(text) <= characters:
        return text
    return "".join(
        char if char in characters or char.isspace() else _spelled(char, characters) for char in text
    )


def _spelled(char: str, characters: Set[str]) -> str:
    plain = _LETTERS.get(char, _MARKS.get(char))
    if plain is None:
        plain = "".join(
            c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c)
        ).upper()
        if not plain:
            return "" if unicodedata.combining(char) else char
    return plain if set(plain) <= characters else char
