"""Mandarin text to Kokoro's phonemes: misaki's first front end, the one these voices were trained with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

import jieba
import regex
from misaki.zh import ZHG2P

from deployments.core.errors import InvalidRequest
from deployments.kokoro.polyphones import pinyin_of
from deployments.text.chinese.numbers import spell_chinese_numbers
from deployments.text.fst import WetextFst

HAN = regex.compile(r"\p{Han}+")
# A run in an alphabet, with what joins its words; combining marks are letters of their own to `regex`.
ALPHABETIC = r"[\p{Latin}\p{Greek}\p{Devanagari}]"
ALPHABETIC_RUN = regex.compile(rf"{ALPHABETIC}(?:[\p{{M}}'’ &@-]*{ALPHABETIC}|\p{{M}})*")
WORDS = str.maketrans(
    {
        "〇": "零",
        "&": "和",
        "+": "加",
        "=": "等于",
        "@": "艾特",
        "#": "井号",
        "%": "百分号",
        "‰": "千分之",
        "°": "度",
        "℃": "摄氏度",
        "$": "美元",
        "€": "欧元",
        "£": "英镑",
        "¥": "元",
    }
)

jieba.setLogLevel(logging.WARNING)  # it announces on stderr that it loads its dictionary


class ChineseG2P:
    """`english` speaks what is written in an alphabet."""

    def __init__(self, english: Callable[[str], str]) -> None:
        self._english = english
        self._numbers = WetextFst()

    def phonemes(self, text: str) -> str:
        """Raises InvalidRequest for a character whose pronunciation is in no dictionary."""
        if not HAN.search(text) and ALPHABETIC_RUN.search(text):
            return self._english(text)
        text = self._numbers(spell_chinese_numbers(text), "zh")
        parts, end = [], 0
        for match in ALPHABETIC_RUN.finditer(text):
            parts += [self._mandarin(text[end : match.start()]), self._english(match.group())]
            end = match.end()
        parts.append(self._mandarin(text[end:]))
        return " ".join(part.strip() for part in parts if part.strip())

    def _mandarin(self, text: str) -> str:
        text = ZHG2P.map_punctuation(text.translate(WORDS))
        phonemes = HAN.sub(lambda run: _run(run.group()), text)
        return phonemes.replace("\u032f", "")  # marks diphthongs; not in the network's alphabet


def _run(run: str) -> str:
    """Phonemes of Chinese characters, with spaces between words."""
    words = jieba.lcut(run)
    readings = pinyin_of(words)
    unknown = dict.fromkeys(
        char
        for word, reading in zip(words, readings, strict=True)
        for char, pinyin in zip(word, reading, strict=True)
        if _syllable(pinyin) is None
    )
    if unknown:
        raise InvalidRequest(
            f"kokoro does not know how to pronounce {''.join(unknown)!r}",
            param="input",
            code="unsupported_characters",
        )
    return " ".join("".join(_syllable(pinyin) or "" for pinyin in reading) for reading in readings)


@lru_cache(maxsize=4096)
def _syllable(pinyin: str) -> str | None:
    """Phonemes; None where it is no syllable of Mandarin, but a character that no dictionary has."""
    try:
        return str(ZHG2P.py2ipa(pinyin))
    except ValueError:
        return None
