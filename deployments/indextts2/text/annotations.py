"""Readings of words, `<word|reading>`, as IndexTTS-2.5 is given them (indextts2.5-delta.md 2, steps 5 and 7)."""

from __future__ import annotations

import re

MARK_WORD, MARK_HAN = "<|SPECIAL_TOKEN_1|>", "<|SPECIAL_TOKEN_2|>"
# A reading between two marks, in one piece.
SPAN = re.compile(r"<\|SPECIAL_TOKEN_\d+\|>.*?<\|SPECIAL_TOKEN_\d+\|>", re.DOTALL)

_ANNOTATION = re.compile(r"<([^|>\n]+)\|([^>\n]+)>")
_TAG = re.compile(r"<\|([^|]+)\|>")
_HIRAGANA = re.compile("[\u3040-\u309f]+")
_KATAKANA = re.compile("[\u30a0-\u30ff]+")
_HAN = re.compile("[\u4e00-\u9fff]")
_PINYIN = re.compile(r"[A-ZÜ]+[1-5](?: ?[A-ZÜ]+[1-5])*")
_CMU = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
_PHONEMES = frozenset((*_CMU.split(), "."))


def mark_readings(text: str) -> str:
    """Every annotation as the model reads it: kana between spaces, pinyin and phonemes between marks."""
    return _ANNOTATION.sub(lambda match: _marked(match[1], match[2].upper()), text)


def _marked(word: str, reading: str) -> str:
    if _is_kana(reading):
        return f" {reading} "
    mark = MARK_HAN if _HAN.search(word) else MARK_WORD
    return f"{mark}{reading}{mark}"


def raise_tags(text: str) -> str:
    """Upper case within `<|…|>`."""
    return _TAG.sub(lambda match: f"<|{match[1].upper()}|>", text)


def unclear_readings(text: str) -> list[str]:
    """Annotations of a text whose reading is neither pinyin with tones, nor CMU phonemes, nor kana."""
    found = dict.fromkeys(
        match.group() for match in _ANNOTATION.finditer(text) if not _is_clear(match[2].upper())
    )
    return list(found)


def _is_clear(reading: str) -> bool:
    phonemes = all(sound.rstrip("012") in _PHONEMES for sound in reading.split())
    return _is_kana(reading) or phonemes or _PINYIN.fullmatch(reading) is not None


def _is_kana(reading: str) -> bool:
    return bool(_HIRAGANA.fullmatch(reading) or _KATAKANA.fullmatch(reading))
