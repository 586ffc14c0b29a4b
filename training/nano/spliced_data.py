"""Batches of sentences nobody has spoken, spliced anew every time they are drawn."""

from __future__ import annotations

import numpy as np

from deployments.text.tokenizer import BpeTokenizer
from training.nano.batches import LengthBatches
from training.nano.gpt_data import (
    MAX_CODES,
    MAX_TEXT,
    MIN_REFERENCE,
    PREFIX_ROWS,
    GptBatch,
    Sentence,
    features_of,
    text_ids,
)
from training.nano.phonemes import read_phonemes
from training.nano.shard import load_shard
from training.nano.splicer import Recorded, Splicer, recorded
from training.nano.workspace import Workspace

CODES_PER_SYMBOL = 3.5  # measured; only the size of a batch depends on it


class SplicedData:
    """`references` are features (T, W) of any speaker: spliced codes come from many."""

    def __init__(
        self,
        workspace: Workspace,
        references: list[np.ndarray],
        generator: np.random.Generator,
        device: str,
        positions: int,
    ) -> None:
        self._generator, self._device = generator, device
        self._references = [each for each in references if len(each) >= MIN_REFERENCE]
        recordings, self._codes, self._phones = _recordings(workspace)
        self._splicer = Splicer(recordings, generator)
        self._rows = self._readable(workspace)
        self._batches = LengthBatches([_positions(*row) for row in self._rows], positions, generator)

    def __len__(self) -> int:
        return len(self._rows)

    def _readable(self, workspace: Workspace) -> list[tuple[list[int], list[int]]]:
        """(text ids, numbers of symbols) of the sentences that fit the tables of the model."""
        tokenizer = BpeTokenizer(workspace.bpe)
        rows = []
        for text, numbers in read_phonemes(workspace):
            ids = text_ids(tokenizer, text)
            fits = len(ids) <= MAX_TEXT and len(numbers) * CODES_PER_SYMBOL < 0.9 * MAX_CODES
            if fits and self._splicer.knows(numbers):
                rows.append((ids, numbers))
        return rows

    def draw(self) -> GptBatch:
        chosen = self._batches.draw()
        speakers = self._generator.integers(len(self._references), size=len(chosen))
        references = [self._references[index] for index in speakers]
        features = features_of(references, self._generator).to(self._device)
        sentences = []
        for index, reference in zip(chosen, references, strict=True):
            ids, numbers = self._rows[index]
            at = self._splicer.splice(numbers)
            sentences.append(Sentence("", "", ids, self._codes[at], self._phones[at], reference))
        return GptBatch(sentences, features)


def _positions(ids: list[int], numbers: list[int]) -> int:
    return PREFIX_ROWS + len(ids) + round(len(numbers) * CODES_PER_SYMBOL)


def _recordings(workspace: Workspace) -> tuple[list[Recorded], np.ndarray, np.ndarray]:
    """All training recordings, their codes and their phones behind one another."""
    found, codes, phones = [], [], []
    for path in sorted(workspace.codes("train").glob("*.npz")):
        spoken = load_shard(workspace.audio("train") / path.name, ("symbols", "durations"))
        for row, coded in zip(spoken, load_shard(path, ("codes", "phone")), strict=True):
            found.append(recorded(row["symbols"], row["durations"], len(coded["codes"])))
            codes.append(coded["codes"])
            phones.append(coded["phone"])
    return found, np.concatenate(codes).astype(np.int64), np.concatenate(phones).astype(np.int64)
