"""Batches of utterances of similar length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

IGNORED = -100  # a target that is not asked for: what torch's cross-entropy leaves out


class LengthBatches:
    """Draws batches of about `size` frames in all; each batch holds neighbours in length."""

    def __init__(self, lengths: Sequence[int], size: int, generator: np.random.Generator) -> None:
        self._order = np.argsort(np.asarray(lengths), kind="stable")
        self._lengths = np.asarray(lengths)
        self._size = size
        self._generator = generator

    def draw(self) -> list[int]:
        """Indices of one batch around a random utterance."""
        centre = int(self._generator.integers(len(self._order)))
        count = max(1, self._size // int(self._lengths[self._order[centre]]))
        first = max(0, min(centre - count // 2, len(self._order) - count))
        return [int(index) for index in self._order[first : first + count]]


def padded(rows: Sequence[np.ndarray], value: float = 0.0, device: str = "cpu") -> Tensor:
    """Rows (T_i, ...) to one tensor (B, max T, ...), padded with `value`."""
    longest = max(len(row) for row in rows)
    batch = np.full((len(rows), longest, *rows[0].shape[1:]), value, dtype=np.float32)
    for index, row in enumerate(rows):
        batch[index, : len(row)] = row
    return torch.from_numpy(batch).to(device)


def length_mask(lengths: Sequence[int], device: str = "cpu") -> Tensor:
    """(B, max length) bool, true where there is data."""
    limits = torch.tensor(list(lengths), device=device)
    return torch.arange(int(limits.max()), device=device)[None] < limits[:, None]
