"""The tokenizer of IndexTTS-2.5: byte-level BPE by ranks of a tiktoken file (indextts2.5-delta.md 2.1)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import tiktoken

from deployments.core.errors import CheckpointError
from deployments.indextts2.text.languages import CODES, TAGGED

_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
_EVENTS = "ASR AED SER Speech /Speech BGM /BGM Laughter /Laughter Applause /Applause HAPPY SAD ANGRY NEUTRAL"
_TASKS = "translate transcribe startoflm startofprev nospeech notimestamps"
_SINGING = "TTS/B TTS/O TTS/Q TTS/A TTS/CO TTS/CL TTS/H"
_TIME_STEPS = 1501  # of 0.02 s, from 0


class ByteTokenizer:
    """Has no unknown: what is no token is its bytes. May be shared by threads."""

    def __init__(self, vocabulary: Path) -> None:
        """Raises CheckpointError naming the file that is missing or no vocabulary."""
        ranks = _ranks(vocabulary)
        self.special_ids = {tag: len(ranks) + place for place, tag in enumerate(_special_tags())}
        try:
            self._encoding = tiktoken.Encoding(
                vocabulary.stem, pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens=self.special_ids
            )
        except Exception as error:  # the ranks are checked in another language, which raises what it likes
            raise CheckpointError(f"{vocabulary}: cannot be used as a vocabulary: {error}") from error

    @property
    def vocab_size(self) -> int:
        return self._encoding.n_vocab

    def encode(self, text: str, specials: Collection[str] | Literal["all"] = "all") -> list[int]:
        """`specials`: tags such as `<|zh|>` that are one token; other tags are text."""
        allowed = specials if specials == "all" else set(specials)
        return self._encoding.encode(text, allowed_special=allowed, disallowed_special=())

    def is_one_token(self, character: str) -> bool:
        """Whether the vocabulary has the character itself, and not only its bytes."""
        return len(self.encode(character, specials=())) == 1


def _ranks(path: Path) -> dict[bytes, int]:
    """`base64 rank` of each line. One line holds `=`, the token of no bytes: it matches nothing and keeps its rank."""
    if not path.is_file():
        raise CheckpointError(f"{path}: the vocabulary is missing")
    ranks: dict[bytes, int] = {}
    try:
        for line in path.read_bytes().splitlines():
            if line:
                token, rank = line.split()
                ranks[b"" if token == b"=" else base64.b64decode(token, validate=True)] = int(rank)
    except (ValueError, binascii.Error) as error:
        raise CheckpointError(f"{path}: is no tiktoken vocabulary: {error}") from error
    if sorted(ranks.values()) != list(range(len(ranks))) or len(ranks) < 256:
        raise CheckpointError(f"{path}: its ranks are not 0, 1, 2 and so on, each of one token")
    return ranks


def _special_tags() -> list[str]:
    """In the order of their ids, which follow the ranks."""
    names = [
        *("endoftext", "startoftranscript"),
        *CODES[:TAGGED],
        *_EVENTS.split(),
        *_TASKS.split(),
        *(f"SPECIAL_TOKEN_{number}" for number in range(1, 31)),
        *_SINGING.split(),
        *(f"TTS/SP{number:02d}" for number in range(1, 14)),
        *(f"{step * 0.02:.2f}" for step in range(_TIME_STEPS)),
    ]
    return [f"<|{name}|>" for name in names]
