"""Writing systems: what counts as a word and how long it takes to speak."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from deployments.core.errors import InvalidRequest

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ffff"
KANA = "\u3041-\u3096\u30a1-\u30fa\u30fc\u31f0-\u31ff\uff66-\uff9d"
HANGUL = "\u1100-\u11ff\u3131-\u318e\uac00-\ud7af"
UNSPACED_ALPHABETS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer

# First words of the Unicode names of letters: of every language, and what a language adds to them.
_EVERYWHERE = frozenset(
    ("LATIN", "GREEK", "MODIFIER", "FEMININE", "MASCULINE", "MICRO", "OHM", "KELVIN", "FULLWIDTH")
)
_SCRIPTS: dict[str, tuple[frozenset[str], str]] = {
    "hi": (frozenset(("DEVANAGARI",)), "Devanagari script"),
    "zh": (frozenset(("CJK",)), "Chinese"),
    "ja": (frozenset(("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HALFWIDTH")), "Japanese"),
    "ko": (frozenset(("HANGUL",)), "Korean"),
    "ru": (frozenset(("CYRILLIC",)), "Cyrillic script"),
    "ar": (frozenset(("ARABIC",)), "Arabic script"),
    "he": (frozenset(("HEBREW",)), "Hebrew script"),
    "km": (frozenset(("KHMER",)), "Khmer script"),
    "lo": (frozenset(("LAO",)), "Lao script"),
    "my": (frozenset(("MYANMAR",)), "Burmese script"),
    "th": (frozenset(("THAI",)), "Thai script"),
}

_HAN = re.compile(f"[{HAN}]")
_UNSPACED = re.compile(f"[{HAN}{KANA}]")
_SYLLABIC = re.compile(f"[{HAN}{KANA}{HANGUL}]")
_WORD = re.compile(rf"[{HAN}{KANA}]|(?:(?![{HAN}{KANA}])\S)+")

_TOO_LONG = re.compile(rf"[^\W\d_{HAN}{KANA}{HANGUL}{UNSPACED_ALPHABETS}]{{50,}}")
_SPELLED_WIDTH = 6
_READ_SIGNS = frozenset("%&@#/\\*§")
_SIGNS = frozenset(("Sc", "Sm"))  # of currencies and of mathematics

# Speaking time against a Latin letter and a Latin word (4-5 characters of Chinese or 2.5-3 English words a
# second).
_SYLLABIC_WIDTH = 3
_UNSPACED_WORD = 0.6


def is_han(char: str) -> bool:
    return _HAN.match(char) is not None


def is_unspaced(char: str) -> bool:
    """Is it of a script that writes words without spaces (Chinese, Japanese)?"""
    return _UNSPACED.match(char) is not None


def spoken_width(text: str) -> int:
    """How long the text is to speak, in Latin characters; one that writes a syllable counts as three."""
    return len(text) + (_SYLLABIC_WIDTH - 1) * (0 if text.isascii() else len(_SYLLABIC.findall(text)))


def longest_width(text: str) -> int:
    """`spoken_width` where every digit and every sign that is read takes a word, and what is too long for a word is
    spelled: about what is spoken, before it is known how numbers will be read."""
    words = sum(len(match.group()) for match in _TOO_LONG.finditer(text))
    words += sum(
        char.isdigit() or char in _READ_SIGNS or unicodedata.category(char) in _SIGNS for char in text
    )
    return spoken_width(text) + (_SPELLED_WIDTH - 1) * words


def word_ends(text: str) -> list[tuple[int, float]]:
    """The end of every word and the words up to it; a Chinese or Japanese character is 0.6 words."""
    ends: list[tuple[int, float]] = []
    count = 0.0
    for match in _WORD.finditer(text):
        word = match.group()
        if is_unspaced(word[0]):
            count += _UNSPACED_WORD
        elif any(char.isalnum() for char in word):
            count += 1
        ends.append((match.end(), count))
    return ends


def is_speakable(text: str) -> bool:
    return any(char.isalnum() for char in text)


def check_scripts(text: str, model: str, languages: Iterable[str]) -> None:
    """Raises InvalidRequest (param "input") naming the letters of scripts that no language of the model is written in.

    `languages` are ISO 639-1; Latin script is taken for granted, and Greek letters are signs in every language.
    """
    known = [_SCRIPTS[language] for language in sorted(languages) if language in _SCRIPTS]
    allowed = _EVERYWHERE.union(*(scripts for scripts, _ in known))
    letters = {char for char in text if not char.isascii() and char.isalpha()}
    foreign = {char for char in letters if unicodedata.name(char, "UNKNOWN").split()[0] not in allowed}
    if foreign:
        shown = "".join(sorted(foreign)[:10])
        spoken = ["Latin script", *(name for _, name in known)]
        raise InvalidRequest(
            f"model {model!r} cannot speak these characters: {shown!r}; it speaks {_listed(spoken)}",
            param="input",
            code="unsupported_characters",
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
