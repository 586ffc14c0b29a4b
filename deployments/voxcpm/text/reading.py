"""Text as the model is given it: numbers, dates and signs in words, because it has learnt few of them."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.core.logs import logger
from deployments.text.chinese.numbers import spell_chinese_numbers
from deployments.text.english.normalizer import normalize_english
from deployments.text.foreign_numbers import spell_numbers
from deployments.text.fst import TextFst, WetextFst
from deployments.text.pauses import between_pauses


@dataclass(frozen=True, slots=True)
class Read:
    text: str
    warnings: tuple[str, ...] = ()


class TextReader:
    """Holds no state between calls; may be shared by threads."""

    def __init__(self, fst: TextFst | None = None) -> None:
        self._fst = fst or WetextFst()

    def whole(self, text: str, language: str) -> str:
        """A whole text before it is cut: the points of "5.30 p.m." end nothing."""
        return between_pauses(text, normalize_english) if language == "en" else text

    def segment(self, text: str, language: str) -> Read:
        """One segment of a text that `whole` has read. The Chinese grammar takes 0.2 ms a character, during which no
        other thread runs."""
        if language == "zh":
            return self._chinese(spell_chinese_numbers(text))
        return Read(spell_numbers(text, language))

    def _chinese(self, text: str) -> Read:
        if not any(char.isdigit() for char in text):
            return Read(text)
        try:
            return Read(self._fst(text, "zh"))
        except Exception as error:  # the grammars raise whatever they like, AssertionError included
            # What people have spoken does not belong into logs.
            logger.warning("the Chinese text grammar failed on %d characters: %r", len(text), error)
            return Read(text, ("numbers, dates and units could not be normalised and are spoken as written",))
