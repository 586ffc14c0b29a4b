"""Text to phonemes for every language Kokoro speaks."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections.abc import Callable

from deployments.kokoro.network import MAX_PHONEMES
from deployments.text.foreign_numbers import spell_numbers
from deployments.text.glossary import Glossary
from deployments.text.scripts import HAN

ToPhonemes = Callable[[str], str]
HAN_RUN = re.compile(f"([{HAN}〇]+)")
SPACE_BEFORE_MARK = re.compile(r" +(?=[.,!?;:”)])")
# Full-width letters and digits; full-width punctuation stays, because misaki turns it into pauses.
HALF_WIDTH = {
    code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))
}


class Phonemizer:
    """Turns text of an accent (see `voices.LANGUAGES`) into Kokoro's phoneme alphabet. Converters load on first use."""

    def __init__(self, glossary: Glossary | None = None) -> None:
        self._glossary = glossary or Glossary()
        self._converters: dict[str, ToPhonemes] = {}

    def phonemes(self, text: str, accent: str) -> str:
        """Phonemes of `text`; empty if nothing in it can be spoken. Chinese within another language is spoken as
        Chinese, alphabets within Chinese as English. Raises InvalidRequest for characters without a pronunciation."""
        # NFC joins letters with their accents, and replaces compatibility ideographs by the usual ones.
        text = unicodedata.normalize("NFC", text).translate(HALF_WIDTH)
        text = self._glossary.apply(text, accent.split("-", maxsplit=1)[0])
        if accent == "zh":
            return self._convert(text, accent)
        # espeak would read every Chinese character as "Chinese letter".
        parts = [self._convert(part, "zh" if i % 2 else accent) for i, part in enumerate(HAN_RUN.split(text))]
        return SPACE_BEFORE_MARK.sub("", " ".join(part for part in parts if part))

    def _convert(self, text: str, accent: str) -> str:
        if not text.strip():
            return ""
        if accent not in self._converters:
            self._converters[accent] = self._converter(accent)
        return self._converters[accent](text).strip()

    def _converter(self, accent: str) -> ToPhonemes:
        # misaki has no release for Python 3.13 and later, and nothing else knows these voices' alphabet.
        if importlib.util.find_spec("misaki") is None:
            raise RuntimeError("misaki is not installed: Kokoro needs Python 3.10 to 3.12")
        if accent == "zh":
            from deployments.kokoro.chinese import ChineseG2P  # noqa: PLC0415  (a second of dictionaries)

            return ChineseG2P(english=lambda text: self._convert(text, "en-us")).phonemes
        if accent in {"en-us", "en-gb"}:
            from deployments.kokoro.english import EnglishG2P  # noqa: PLC0415  (a second of dictionaries)

            return EnglishG2P(british=accent == "en-gb").phonemes
        from misaki.espeak import EspeakG2P  # noqa: PLC0415

        g2p = EspeakG2P(language=accent)
        return lambda text: str(g2p(spell_numbers(text, accent[:2]))[0])


def split_phonemes(phonemes: str, limit: int = MAX_PHONEMES) -> list[str]:
    """Pieces of at most `limit` symbols, cut after the last punctuation, else the last space, that fits."""
    pieces = []
    phonemes = phonemes.strip()
    while len(phonemes) > limit:
        head = phonemes[:limit]
        cut = max(head.rfind(mark) for mark in ".!?;:,—")
        if cut < limit // 4:
            cut = head.rfind(" ")
        cut = cut + 1 if cut > 0 else limit
        pieces.append(phonemes[:cut].strip())
        phonemes = phonemes[cut:].strip()
    return [*pieces, phonemes] if phonemes else pieces
