"""The language of a text by its script, for routing."""

from __future__ import annotations

import re
from typing import Literal

from deployments.text.scripts import HAN, HANGUL, KANA

Language = Literal["zh", "ja", "ko", "en"]

_HAN = re.compile(f"[{HAN}]")
_KANA = re.compile(f"[{KANA}]")
_HANGUL = re.compile(f"[{HANGUL}]")
_LETTER = re.compile(r"[^\W\d_]")

# A character of these scripts carries about three letters' worth of speech.
_WEIGHT = 3
# A few kana are decoration in Chinese (の in shop names); Japanese prose has far more.
_LEAST_KANA = 0.1


def detect_language(text: str) -> Language:
    """The script that most of the speech is in; "en" stands for every other script."""
    han, kana, hangul = (len(pattern.findall(text)) for pattern in (_HAN, _KANA, _HANGUL))
    others = len(_LETTER.findall(text)) - han - kana - hangul
    if _WEIGHT * (han + kana + hangul) <= others or not (han or kana or hangul):
        return "en"
    if hangul > han + kana:
        return "ko"
    return "ja" if kana > _LEAST_KANA * (han + kana) else "zh"


def script_language(text: str) -> Language | None:
    """The language where the script tells it; None where it does not, as for Latin."""
    language = detect_language(text)
    return None if language == "en" else language
