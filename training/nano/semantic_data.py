"""Batches for encoder and codec: augmented inputs and their labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.nano.batches import LengthBatches, length_mask, padded
from training.nano.config import MEL_BANDS
from training.nano.features import load_features
from training.nano.semantic import Labels
from training.nano.shard import Row

BATCH_FRAMES = 1000  # 20 s


def valid_frames(row: Row) -> int:
    """Stacked frames of an utterance without a half-filled last one (its second half is all ones)."""
    frames = len(row["input"])
    return frames - 1 if bool((row["input"][-1, MEL_BANDS:] == 1).all()) else frames


class SemanticData:
    """All utterances of a features folder."""

    def __init__(self, folder: Path, generator: np.random.Generator, device: str) -> None:
        self.rows = load_features(folder)
        self._frames = [valid_frames(row) for row in self.rows]
        self._batches = LengthBatches(self._frames, BATCH_FRAMES, generator)
        self._generator = generator
        self._device = device

    def draw(self) -> tuple[Tensor, Labels]:
        """An augmented training batch: inputs (B, T, 160) and labels."""
        inputs, labels = self.batch(self._batches.draw())
        return augment(inputs, labels.mask, self._generator), labels

    def batch(self, indices: list[int]) -> tuple[Tensor, Labels]:
        rows = [self.rows[index] for index in indices]
        frames = [self._frames[index] for index in indices]

        def stack(key: str) -> Tensor:
            return padded(
                [row[key][:count] for row, count in zip(rows, frames, strict=True)], 0.0, self._device
            )

        inputs = stack("input")
        labels = Labels(stack("phone").long(), stack("prosody"), inputs, length_mask(frames, self._device))
        return inputs, labels

    def everything(self, limit: int) -> list[tuple[Tensor, Labels]]:
        """The first `limit` utterances in batches of eight of similar length, for held-out figures."""
        order = sorted(range(min(limit, len(self.rows))), key=lambda index: self._frames[index])
        return [self.batch(order[first : first + 8]) for first in range(0, len(order), 8)]


def augment(inputs: Tensor, mask: Tensor, generator: np.random.Generator) -> Tensor:
    """`disguised`, with one band and two short stretches of time masked."""
    batch, frames, _ = inputs.shape
    mels = disguised(inputs, generator, 0.25).reshape(batch, frames, 2, MEL_BANDS)
    for row in range(batch):
        band = int(generator.integers(MEL_BANDS - 10))
        mels[row, :, :, band : band + int(generator.integers(10))] = 0
        for _ in range(2):
            start = int(generator.integers(max(1, frames - 8)))
            mels[row, start : start + int(generator.integers(8))] = 0
    return mels.reshape(inputs.shape) * mask[..., None]


def disguised(inputs: Tensor, generator: np.random.Generator, noise: float) -> Tensor:
    """Another vocal tract (stretched mel axis), and noise of up to so much. (B, T, 160) to the same."""
    batch, frames, _ = inputs.shape
    mels = inputs.reshape(batch, frames, 2, MEL_BANDS)
    mels = torch.einsum("btsm,bmn->btsn", mels, _stretches(batch, generator).to(inputs.device))
    hiss = generator.standard_normal(inputs.shape, np.float32) * np.float32(generator.uniform(0, noise))
    return mels.reshape(inputs.shape) + torch.from_numpy(hiss).to(inputs.device)


def _stretches(batch: int, generator: np.random.Generator) -> Tensor:
    """(B, 80, 80): linear interpolation at bin * factor, one factor per row."""
    matrices = np.zeros((batch, MEL_BANDS, MEL_BANDS), np.float32)
    bins = np.arange(MEL_BANDS)
    for row in range(batch):
        at = np.clip(bins * generator.uniform(0.9, 1.1) + generator.uniform(-1, 1), 0, MEL_BANDS - 1)
        low = np.minimum(at.astype(np.int64), MEL_BANDS - 2)
        matrices[row, low, bins] = 1 - (at - low)
        matrices[row, low + 1, bins] = at - low
    return torch.from_numpy(matrices)
