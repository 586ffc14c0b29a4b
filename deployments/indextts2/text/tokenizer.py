"""The SentencePiece tokenizer of a checkpoint (`bpe.model`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from deployments.core.errors import CheckpointError
from deployments.text.scripts import is_han

WORD_START = "▁"  # U+2581
_CJK = re.compile(
    "([\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc\U00020000-\U0002ffff])"
)


class BpeTokenizer:
    """May be shared by threads."""

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise CheckpointError(f"{model}: the tokenizer model is missing")
        try:
            self._processor = SentencePieceProcessor(model_file=str(model))
        except (RuntimeError, OSError) as error:
            raise CheckpointError(f"{model}: is not a SentencePiece model: {error}") from error

    @property
    def vocab_size(self) -> int:
        return self._processor.vocab_size()

    @cached_property
    def characters(self) -> frozenset[str]:
        """All that the pieces of the vocabulary are made of."""
        return frozenset("".join(self._processor.id_to_piece(index) for index in range(self.vocab_size)))

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1, as far as the vocabulary tells: English, and Chinese if there is a Chinese character in it."""
        return ("zh", "en") if any(is_han(char) for char in self.characters) else ("en",)

    @property
    def unknown_id(self) -> int:
        return self._processor.unk_id()

    def pieces(self, text: str) -> list[str]:
        return self._processor.encode(text, out_type=str)

    def ids(self, pieces: Sequence[str]) -> list[int]:
        """A piece that the vocabulary lacks gets `unknown_id`."""
        return self._processor.piece_to_id(list(pieces))

    def unknown_characters(self, pieces: Sequence[str]) -> list[str]:
        """The distinct characters of the pieces that the vocabulary lacks, in order."""
        lacking = [
            piece for piece, id_ in zip(pieces, self.ids(pieces), strict=True) if id_ == self.unknown_id
        ]
        return list(dict.fromkeys(char for piece in lacking for char in piece if char != WORD_START))


def pretokenize(text: str) -> str:
    items = (item.strip().upper() for item in _CJK.split(text.strip()))
    return " ".join(item for item in items if item)
