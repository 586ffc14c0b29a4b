"""Text to phonemes for every language Kokoro speaks."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from functools import partial

from deployments.kokoro.network import MAX_PHONEMES

ToPhonemes = Callable[[str], str]
LATIN_RUN = re.compile(r"[A-Za-z][A-Za-z' -]*")


class Phonemizer:
    """Turns text of an accent (see `voices.LANGUAGES`) into Kokoro's phoneme alphabet. Converters load on first use."""

    def __init__(self) -> None:
        self._converters: dict[str, ToPhonemes] = {}

    def phonemes(self, text: str, accent: str) -> str:
        """Phonemes of `text`; empty if nothing in it can be spoken."""
        if accent not in self._converters:
            self._converters[accent] = self._converter(accent)
        return self._converters[accent](text).strip()

    def _converter(self, accent: str) -> ToPhonemes:
        # misaki has no release for Python 3.13 and later; espeak alone then serves every language but Chinese.
        if importlib.util.find_spec("misaki") is None:
            raise RuntimeError("misaki is not installed: Kokoro needs Python 3.10 to 3.12")
        if accent == "zh":
            return partial(_chinese, self)
        if accent in {"en-us", "en-gb"}:
            from deployments.kokoro.english import EnglishG2P  # noqa: PLC0415  (a second of dictionaries)

            return EnglishG2P(british=accent == "en-gb").phonemes
        from misaki.espeak import EspeakG2P  # noqa: PLC0415

        g2p = EspeakG2P(language=accent)
        return lambda text: str(g2p(text)[0])


def _chinese(phonemizer: Phonemizer, text: str) -> str:
    """Mandarin by misaki's first front end (the one these voices were trained with); Latin words as English."""
    from misaki.zh import ZHG2P  # noqa: PLC0415

    g2p = _chinese.__dict__.setdefault("g2p", ZHG2P())
    parts, end = [], 0
    for match in LATIN_RUN.finditer(text):
        parts += [g2p(text[end : match.start()])[0], phonemizer.phonemes(match.group(), "en-us")]
        end = match.end()
    parts.append(g2p(text[end:])[0])
    return " ".join(part for part in parts if part)


def split_phonemes(phonemes: str, limit: int = MAX_PHONEMES) -> list[str]:
    """Pieces of at most `limit` symbols, cut after the last punctuation, else the last space, that fits."""
    pieces = []
    while len(phonemes) > limit:
        head = phonemes[:limit]
        cut = max(head.rfind(mark) for mark in ".!?;:,—")
        if cut < limit // 4:
            cut = head.rfind(" ")
        cut = cut + 1 if cut > 0 else limit
        pieces.append(phonemes[:cut].strip())
        phonemes = phonemes[cut:].strip()
    return [*pieces, phonemes] if phonemes else pieces
