"""What is compared of a text: its words, whatever the spelling. `NORMALISATION` says it to readers of results."""

from __future__ import annotations

import re
import unicodedata

from num2words import num2words

from serve_app.quality.numerals import spell_numbers
from serve_app.quality.spelling import american

NORMALISATION = (
    "lower case without accents and punctuation; hyphens separate words; contractions are written out where only one "
    "reading exists (can't, it's, we're), other apostrophes vanish; digits, times, amounts and years become words, "
    "without the `and` inside a number; British spellings become American."
)
NORMALISER_VERSION = 1

_REWRITTEN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\bwon't\b", "will not"),
        (r"\bshan't\b", "shall not"),
        (r"\b(can't|cannot)\b", "can not"),
        (r"n't\b", " not"),
        (r"'re\b", " are"),
        (r"'ve\b", " have"),
        (r"'ll\b", " will"),
        (r"'m\b", " am"),
        (r"\blet's\b", "let us"),
        (r"\b(it|that|what|there|here|he|she|who|where|how)'s\b", r"\1 is"),
        (r"%|\bper cent\b", " percent "),
        (r"&", " and "),
        (r"\bmr\b", "mister"),
        (r"\bmrs\b", "missus"),
        (r"\bdr\b", "doctor"),
        (r"\ball right\b", "alright"),
        (r"\be[- ]mail", "email"),
        (r"\bto-(day|night|morrow)\b", r"to\1"),
    )
)
_LARGE = {"hundred", "thousand", "million", "billion"}
_SMALL = {num2words(number) for number in (*range(1, 20), *range(20, 100, 10))}


def plain_words(text: str) -> list[str]:
    """The words of an English text in the form described by NORMALISATION; may be empty."""
    text = unicodedata.normalize("NFKD", text.lower().replace("’", "'").replace("‘", "'"))
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    text = spell_numbers(text).replace("'", "")
    words = re.sub(r"[^a-z]+", " ", text).split()
    return [american(word) for index, word in enumerate(words) if not _joins_a_number(words, index)]


def _joins_a_number(words: list[str], index: int) -> bool:
    """Whether this is the `and` of "two hundred and five", which Americans leave out."""
    inside = 0 < index < len(words) - 1
    return inside and words[index] == "and" and words[index - 1] in _LARGE and words[index + 1] in _SMALL
