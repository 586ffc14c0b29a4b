"""What the versions speak, ISO 639-1 (voxcpm.md 1), as their publisher lists it."""

from __future__ import annotations

import re
from collections.abc import Collection

from deployments.text.language import detect_language

VERSION_1 = ("zh", "en")
# The two of version 1 first; Chinese stands for nine dialects as well.
VERSION_2 = (
    *VERSION_1,
    *(
        "ar",
        "da",
        "de",
        "el",
        "es",
        "fi",
        "fr",
        "he",
        "hi",
        "id",
        "it",
        "ja",
        "km",
        "ko",
        "lo",
        "ms",
        "my",
        "nl",
    ),
    *("no", "pl", "pt", "ru", "sv", "sw", "th", "tl", "tr", "vi"),
)

UNKNOWN = ""
_LETTERS = re.compile(r"[^\W\d_]+")
# Words that are no words of the other languages.
_ENGLISH = frozenset(
    ("and", "are", "have", "is", "my", "of", "that", "the", "they", "this", "what", "with", "you", "your")
)


def language_of(text: str, spoken: Collection[str]) -> str:
    """The language of a text where it can be told: numbers are left to the model in a text whose language cannot.

    Of a model that speaks two languages the script tells it; among thirty a word must be English.
    """
    found = detect_language(text)
    if found != "en" or len(spoken) == len(VERSION_1):
        return found
    words = (word.lower() for word in _LETTERS.findall(text))
    return "en" if text.isascii() and any(word in _ENGLISH for word in words) else UNKNOWN
