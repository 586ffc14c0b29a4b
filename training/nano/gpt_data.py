"""Batches for the GPT: text, codes, and features of another sentence of the same speaker."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deployments.indextts2.text.tokenizer import BpeTokenizer
from training.nano.batches import LengthBatches
from training.nano.config import CODEBOOK_SIZE, CONFIG
from training.nano.shard import Row, load_shard, load_shards
from training.nano.tokenizer import as_read
from training.nano.workspace import Workspace

PREFIX_ROWS = 34  # 32 latents and two speed rows
MAX_CODES = 600
MAX_TEXT = CONFIG["gpt"]["max_text_tokens"]
MIN_REFERENCE = 60
# While training, of the codes read: the share replaced by chance, the share at which a stretch of so many codes sticks.
MISREAD = 0.05
STALLS = 0.012
STALL_CODES = (4, 16)


@dataclass(frozen=True)
class Sentence:
    """`codes` are what should be said (`written.py`), `heard` the encoder's for the same times, if any."""

    text: str
    speaker: str
    ids: list[int]
    codes: np.ndarray  # (n,)
    heard: tuple[np.ndarray, ...]  # (n,) each
    phones: np.ndarray  # (n,), classes of config.py

    @property
    def positions(self) -> int:
        return PREFIX_ROWS + len(self.ids) + 2 + len(self.codes) + 2

    @property
    def fits(self) -> bool:
        """Whether the tables of the model are large enough."""
        return len(self.codes) <= MAX_CODES and len(self.ids) <= MAX_TEXT


@dataclass(frozen=True)
class GptBatch:
    sentences: list[Sentence]
    features: Tensor  # (B, T, W), one length for the whole batch


def recorded(workspace: Workspace, split: str) -> list[Sentence]:
    """Sentences with a recording."""
    tokenizer = BpeTokenizer(workspace.bpe)
    found = []
    for path in sorted(workspace.codes(split).glob("*.npz")):
        written = load_shard(workspace.written(split) / path.name)
        for row, heard in zip(written, load_shard(path, ("codes", "rough")), strict=True):
            found.append(_sentence(tokenizer, row, (heard["codes"], heard["rough"])))
    return [one for one in found if one.fits]


def unrecorded(workspace: Workspace) -> list[Sentence]:
    """Sentences that only have a score."""
    tokenizer = BpeTokenizer(workspace.bpe)
    found = [_sentence(tokenizer, row, ()) for row in load_shards(workspace.written("scores"))]
    return [one for one in found if one.fits]


def text_ids(tokenizer: BpeTokenizer, text: str) -> list[int]:
    """Pieces of a text as the GPT reads it."""
    return tokenizer.ids(tokenizer.pieces(as_read(text)))


def _sentence(tokenizer: BpeTokenizer, row: Row, heard: tuple[np.ndarray, ...]) -> Sentence:
    ids = text_ids(tokenizer, row["text"])
    return Sentence(row["text"], row["speaker"], ids, row["codes"], heard, row["phone"])


def read_codes(sentence: Sentence, generator: np.random.Generator) -> np.ndarray:
    """The codes of a sentence as they are read while training: what should be said, or what an encoder heard of it."""
    readings = (sentence.codes, *sentence.heard)
    return misread(readings[int(generator.integers(len(readings)))], generator)


def misread(codes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Codes as they are read, not as they are asked for: some by chance, some stretches stuck at their first code.

    A small model otherwise learns hours of speech by heart; its own first mistake leads it astray, and a code that it
    has said ten times it says for ever.
    """
    read = codes.copy()
    for first in np.flatnonzero(generator.random(len(read)) < STALLS):
        read[first : first + int(generator.integers(*STALL_CODES))] = read[first]
    replaced = generator.random(len(read)) < MISREAD
    read[replaced] = generator.integers(CODEBOOK_SIZE, size=int(replaced.sum()))
    return read


def features_of(references: list[np.ndarray], generator: np.random.Generator) -> Tensor:
    """Random cuts of one length, (B, T, W) float32."""
    frames = min(len(reference) for reference in references)
    cut = []
    for reference in references:
        first = int(generator.integers(len(reference) - frames + 1))
        cut.append(reference[first : first + frames].astype(np.float32))
    return torch.from_numpy(np.stack(cut))


class References:
    """Features of the recordings of a split, by speaker."""

    def __init__(self, workspace: Workspace, split: str) -> None:
        self._of_speaker: dict[str, list[tuple[str, np.ndarray]]] = defaultdict(list)
        for row in load_shards(workspace.codes(split)):
            if len(row["reference"]) >= MIN_REFERENCE:
                self._of_speaker[row["speaker"]].append((row["text"], row["reference"]))

    def __contains__(self, speaker: str) -> bool:
        return speaker in self._of_speaker

    def draw(self, sentence: Sentence, generator: np.random.Generator) -> np.ndarray:
        """(T, W) of another sentence of the speaker, or of the same one if there is no other."""
        known = self._of_speaker[sentence.speaker]
        others = [features for text, features in known if text != sentence.text]
        chosen = others or [features for _, features in known]
        return chosen[int(generator.integers(len(chosen)))]


class GptData:
    """Sentences whose speakers have references."""

    def __init__(
        self,
        rows: list[Sentence],
        references: References,
        generator: np.random.Generator,
        device: str,
        positions: int,
    ) -> None:
        self.rows = [row for row in rows if row.speaker in references]
        self._references = references
        self._generator = generator
        self._device = device
        self._batches = LengthBatches([row.positions for row in self.rows], positions, generator)

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self) -> GptBatch:
        return self.batch(self._batches.draw())

    def batch(self, chosen: list[int]) -> GptBatch:
        rows = [self.rows[index] for index in chosen]
        features = features_of([self._references.draw(row, self._generator) for row in rows], self._generator)
        return GptBatch(rows, features.to(self._device))
