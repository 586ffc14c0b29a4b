"""A text as the published IndexTTS-2.5 reads it (indextts2.5-delta.md 2, steps 1 to 7)."""

from __future__ import annotations

from deployments.core.errors import InvalidRequest
from deployments.indextts2.text.annotations import mark_readings, raise_tags
from deployments.indextts2.text.japanese import JapaneseWords
from deployments.indextts2.text.normalizer import Normalizer, map_characters

_NORMALIZED = ("zh", "zhen", "en")
_LOWERED = ("ja", "zh", "zhen", "en")


class PublishedReader:
    """May be shared by threads."""

    def __init__(self, normalizer: Normalizer, japanese: JapaneseWords) -> None:
        self._normalizer = normalizer
        self._japanese = japanese

    def read(self, text: str, language: str, *, normalized: bool = True) -> str:
        """`language` as the published model spells it, in lower case. `normalized`: numbers and the like as words, in
        Chinese and English; there is no grammar for others.

        Raises InvalidRequest when the Chinese grammar fails, which as published would give nothing to speak.
        """
        text = map_characters(text, chinese=False)
        if normalized and language in _NORMALIZED:
            text = self._through_grammar(text)
        return finished(cased(text, language), language, self._japanese)

    def _through_grammar(self, text: str) -> str:
        normalized = self._normalizer(text)
        if normalized.fst_failed and normalized.route == "zh":
            raise unreadable()
        return normalized.text


def cased(text: str, language: str) -> str:
    """In the case of the training texts of a language; other languages are left as they are."""
    if language == "es":
        return text.upper()
    return text.lower() if language in _LOWERED else text


def finished(text: str, language: str, japanese: JapaneseWords) -> str:
    """Annotations, and Japanese in words. In Japanese the marks of other readings than kana are torn to pieces."""
    text = mark_readings(text)
    return raise_tags(japanese.part(text) if language == "ja" else text)


def unreadable() -> InvalidRequest:
    return InvalidRequest(
        "The text holds a sign that the Chinese normaliser cannot read; write it as words.",
        param="input",
        code="input_not_speakable",
    )
