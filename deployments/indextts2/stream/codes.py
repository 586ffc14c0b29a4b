"""The codes of a segment that have arrived, with their latents."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deployments.indextts2.gpt.job import CodeChunk


class Codes:
    def __init__(self) -> None:
        self.count = 0
        self.finished = False
        self._codes: list[npt.NDArray[np.int64]] = []
        self._latents: list[npt.NDArray[np.float32]] = []

    def add(self, chunk: CodeChunk) -> None:
        self.finished = chunk.finished
        if len(chunk.codes):
            self.count += len(chunk.codes)
            self._codes.append(chunk.codes)
            self._latents.append(chunk.latents)

    def codes(self, count: int) -> npt.NDArray[np.int64]:
        """The first `count`, (count,)."""
        return np.concatenate(self._codes)[:count]

    def latents(self, count: int) -> npt.NDArray[np.float32]:
        """Of the first `count` codes, (count, D)."""
        return np.concatenate(self._latents)[:count]
