"""Batches for the GPT: text, codes, and features of another sentence of the same speaker."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deployments.text.tokenizer import BpeTokenizer
from training.nano.batches import LengthBatches
from training.nano.config import CODEBOOK_SIZE, CONFIG
from training.nano.shard import Row, load_shards
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
    text: str
    speaker: str
    ids: list[int]
    codes: np.ndarray  # (n,)
    phones: np.ndarray  # (n,), classes of config.py
    reference: np.ndarray  # (T, W) float16

    @property
    def positions(self) -> int:
        return PREFIX_ROWS + len(self.ids) + 2 + len(self.codes) + 2


@dataclass(frozen=True)
class GptBatch:
    sentences: list[Sentence]
    features: Tensor  # (B, T, W), one length for the whole batch


def sentences(workspace: Workspace, split: str) -> list[Sentence]:
    """All sentences that fit the tables of the model."""
    tokenizer = BpeTokenizer(workspace.bpe)
    found = [_sentence(tokenizer, row) for row in load_shards(workspace.codes(split))]
    return [one for one in found if len(one.codes) <= MAX_CODES and len(one.ids) <= MAX_TEXT]


def text_ids(tokenizer: BpeTokenizer, text: str) -> list[int]:
    """Pieces of a text as the GPT reads it."""
    return tokenizer.ids(tokenizer.pieces(as_read(text)))


def _sentence(tokenizer: BpeTokenizer, row: Row) -> Sentence:
    ids = text_ids(tokenizer, row["text"])
    codes, phones = row["codes"].astype(np.int64), row["phone"].astype(np.int64)
    return Sentence(row["text"], row["speaker"], ids, codes, phones, row["reference"])


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


class GptData:
    def __init__(
        self, rows: list[Sentence], generator: np.random.Generator, device: str, positions: int
    ) -> None:
        self.rows = rows
        self._generator = generator
        self._device = device
        self._of_speaker: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            if len(row.reference) >= MIN_REFERENCE:
                self._of_speaker[row.speaker].append(index)
        self._usable = [index for index, row in enumerate(rows) if self._of_speaker[row.speaker]]
        self._batches = LengthBatches([rows[index].positions for index in self._usable], positions, generator)

    def draw(self) -> GptBatch:
        return self.batch([self._usable[index] for index in self._batches.draw()])

    def batch(self, chosen: list[int]) -> GptBatch:
        references = [self.rows[self._companion(index)].reference for index in chosen]
        features = features_of(references, self._generator).to(self._device)
        return GptBatch([self.rows[index] for index in chosen], features)

    def _companion(self, index: int) -> int:
        known = self._of_speaker[self.rows[index].speaker]
        others = [other for other in known if other != index]
        return int(self._generator.choice(others or known))
