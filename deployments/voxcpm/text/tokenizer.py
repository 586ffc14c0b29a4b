"""Text to ids: a Llama-style BPE whose Chinese tokens are taken apart again (voxcpm.md 3)."""

from __future__ import annotations

import re
from pathlib import Path

from tokenizers import Tokenizer  # not transformers, which imports torch: the process that routes tokenises

from deployments.core.errors import CheckpointError

SPACE = "▁"  # stands for a space in a token
BYTE = re.compile("<0x[0-9A-F]{2}>")  # what stands for a byte of a character that has no token
FIRST_HAN, LAST_HAN = "\u4e00", "\u9fff"


class VoxCPMTokenizer:
    """Made from tokenizer.json alone: what else lies in the directory differs between generations of transformers."""

    def __init__(self, directory: Path, *, vocabulary: int) -> None:
        """`vocabulary`: rows of the embedding table. Raises CheckpointError if the tokenizer cannot be read or knows
        ids that the model does not."""
        path = directory / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # a damaged file makes the reader raise whatever it trips over
            raise CheckpointError(f"{path}: cannot be read as a tokenizer ({error})") from error
        # Marks such as </s> within a text are text: they must not steer the model.
        self._tokenizer.encode_special_tokens = True
        self._ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        if (largest := max(self._ids.values(), default=0)) >= vocabulary:
            raise CheckpointError(f"{path}: has id {largest}, the model knows 0 to {vocabulary - 1}")
        self._words = {token for token in self._ids if len(token) > 1 and _is_han(token)}
        self._unknown = self._ids.get("<unk>", 0)

    def tokens(self, text: str) -> list[str]:
        """Of a text as it is, no mark at the start; Chinese ones of several characters are taken apart."""
        found: list[str] = []
        for token in self._tokenizer.encode(text, add_special_tokens=False).tokens:
            bare = token.replace(SPACE, "")
            found += bare if bare in self._words else [token]
        return found

    def encode(self, text: str) -> list[int]:
        """The ids of `tokens`."""
        return [self._ids.get(token, self._unknown) for token in self.tokens(text)]

    def unknown_characters(self, text: str) -> list[str]:
        """The distinct letters, digits and signs that the vocabulary has only as bytes or not at all, in order."""
        characters = dict.fromkeys(character for character in text if not character.isspace())
        return [character for character in characters if not self._is_known(character)]

    def _is_known(self, character: str) -> bool:
        tokens = [token for token in self.tokens(character) if token != SPACE]
        return all(
            self._ids.get(token, self._unknown) != self._unknown and not BYTE.fullmatch(token)
            for token in tokens
        )


def prepared(text: str) -> str:
    """One line with single spaces and none at the ends, as texts are tokenised. A prompt's transcript and what follows
    it are joined before, with what the language wants between them."""
    return " ".join(text.split())


def _is_han(token: str) -> bool:
    return all(FIRST_HAN <= character <= LAST_HAN for character in token)
