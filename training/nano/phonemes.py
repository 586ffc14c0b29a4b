"""Text to the teacher's symbols."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from misaki.espeak import EspeakFallback


def vocabulary_of(kokoro: Path) -> dict[str, int]:
    """Number of every symbol that the teacher knows."""
    stored = json.loads((kokoro / "tokenizer.json").read_text(encoding="utf-8"))
    found: dict[str, int] = stored["model"]["vocab"]
    return found


def alphabet_of(kokoro: Path) -> dict[int, str]:
    """Symbol of every number but that of silence, 0."""
    return {number: symbol for symbol, number in vocabulary_of(kokoro).items() if number}


class Phonemizer:
    """Text to the numbers of the teacher's symbols: American phonemes, the same for every voice."""

    def __init__(self, kokoro: Path) -> None:
        self._vocabulary = vocabulary_of(kokoro)
        self._espeak = EspeakFallback(british=False)

    def numbers(self, text: str) -> list[int]:
        """Without the silence at both ends; symbols the teacher does not know are left out."""
        spoken, _ = self._espeak(SimpleNamespace(text=text))
        return [self._vocabulary[symbol] for symbol in spoken or "" if symbol in self._vocabulary]
