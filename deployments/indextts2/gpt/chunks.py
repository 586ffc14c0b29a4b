"""Codes and latents of one row on their way out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deployments.indextts2.gpt.job import CodeChunk


class Chunks:
    """Hands out chunks of `size` codes as soon as their latents exist; with size 0 everything at the end."""

    def __init__(self, size: int, width: int) -> None:
        self._size = size
        self._sent = 0
        self._latents = torch.empty(0, width)  # those not sent yet
        self._made: list[Tensor] = []

    def add(self, latents: Tensor) -> None:
        """The next latents (K,D). May be one more than there will be codes."""
        self._made.append(latents.clone())  # a view would keep the states of the whole step alive

    def whole(self, codes: Sequence[int]) -> list[CodeChunk]:
        """Full chunks of codes that will not change any more; `codes` from the beginning."""
        chunks: list[CodeChunk] = []
        while self._size and min(len(codes) - self._sent, self._waiting) >= self._size:
            chunks.append(self._chunk(codes[self._sent : self._sent + self._size], finished=False))
        return chunks

    def last(self, codes: Sequence[int], *, limit_reached: bool) -> CodeChunk:
        """What is left; all latents must have been added."""
        return self._chunk(codes[self._sent :], finished=True, limit_reached=limit_reached)

    @property
    def _waiting(self) -> int:
        return len(self._latents) + sum(len(made) for made in self._made)

    def _chunk(self, codes: Sequence[int], *, finished: bool, limit_reached: bool = False) -> CodeChunk:
        if self._made:
            self._latents = torch.cat([self._latents.to(self._made[0]), *self._made])
            self._made = []
        latents, self._latents = self._latents[: len(codes)], self._latents[len(codes) :]
        if len(latents) != len(codes):
            raise RuntimeError(f"{len(codes)} codes are to be sent, but {len(latents)} latents were made")
        self._sent += len(codes)
        return CodeChunk(
            np.asarray(codes, np.int64), latents.float().cpu().numpy().copy(), finished, limit_reached
        )
