"""Chunks of a row's codes, as soon as they can be sent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deployments.indextts2.gpt.job import CodeChunk


class CodeChunks:
    """Chunks of `size` codes; with size 0 one chunk at the end. Codes need nothing beside them: see LatentChunks."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sent = 0

    def add(self, latents: Tensor) -> None:
        """The next latents (K,D), if the model has any. May be one more than there will be codes."""

    def full(self, codes: Sequence[int]) -> list[CodeChunk]:
        """Full chunks of codes that will not change any more; `codes` from the beginning."""
        chunks: list[CodeChunk] = []
        while self._size and self._complete(len(codes) - self._sent) >= self._size:
            chunks.append(self._chunk(codes[self._sent : self._sent + self._size], finished=False))
        return chunks

    def last(self, codes: Sequence[int], *, limit_reached: bool) -> CodeChunk:
        """What is left; all latents must have been added."""
        return self._chunk(codes[self._sent :], finished=True, limit_reached=limit_reached)

    def _complete(self, waiting: int) -> int:
        """Of `waiting` codes that were not sent yet those that can be."""
        return waiting

    def _latents_of(self, count: int) -> npt.NDArray[np.float32]:
        """Of the next `count` codes."""
        return np.zeros((count, 0), np.float32)

    def _chunk(self, codes: Sequence[int], *, finished: bool, limit_reached: bool = False) -> CodeChunk:
        latents = self._latents_of(len(codes))
        self._sent += len(codes)
        return CodeChunk(np.asarray(codes, np.int64), latents, finished, limit_reached)


class LatentChunks(CodeChunks):
    """Each code is sent with its latent, (D,)."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__(size)
        self._latents = torch.empty(0, width)  # those not sent yet
        self._made: list[Tensor] = []  # not joined with them yet

    def add(self, latents: Tensor) -> None:
        self._made.append(latents.clone())  # a view would keep the states of the whole step alive

    def _complete(self, waiting: int) -> int:
        return min(waiting, len(self._latents) + sum(len(made) for made in self._made))

    def _latents_of(self, count: int) -> npt.NDArray[np.float32]:
        if self._made:
            self._latents = torch.cat([self._latents.to(self._made[0]), *self._made])
            self._made = []
        latents, self._latents = self._latents[:count], self._latents[count:]
        if len(latents) != count:
            raise RuntimeError(f"{count} codes are to be sent, but {len(latents)} latents were made")
        return latents.float().cpu().numpy().copy()
