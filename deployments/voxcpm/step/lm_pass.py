"""The first half of a step: rows that speak go on by one position, rows that begin take in pieces of their prefix."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from deployments.engine.cuda_graphs import GraphedWork, key_buckets, row_buckets, smallest
from deployments.voxcpm.lm.attention import SlotSpan
from deployments.voxcpm.network import VoxCPMNetwork
from deployments.voxcpm.step.prefix import PrefixPiece
from deployments.voxcpm.step.states import SlotStates


class LmPass(Protocol):
    def compute(self, speaking: Sequence[int], pieces: Sequence[PrefixPiece]) -> None:
        """Append the last patch of each slot in `speaking`, and all pieces; leaves the states of the last positions."""
        ...


class JointPass:
    """Everything in one pass over the weights, every span by itself: what a CPU is fastest with."""

    def __init__(self, network: VoxCPMNetwork, states: SlotStates) -> None:
        self._network = network
        self._states = states

    def compute(self, speaking: Sequence[int], pieces: Sequence[PrefixPiece]) -> None:
        if not speaking and not pieces:
            return
        counts = [1] * len(speaking) + [len(piece.ids) for piece in pieces]
        slots = [*speaking, *(piece.slot for piece in pieces)]
        inputs, encoded, is_audio = self._inputs(speaking, pieces)
        states = self._states
        base, residual = self._network.append(
            states.cache, self._spans(slots, counts), inputs, encoded, is_audio
        )
        # Of several pieces of a slot the last one counts.
        ends = dict(zip(slots, (np.cumsum(counts) - 1).tolist(), strict=True))
        targets, sources = torch.tensor([list(ends), list(ends.values())]).to(self._network.device)
        states.base[targets] = base.index_select(0, sources)
        states.residual[targets] = residual.index_select(0, sources)

    def _spans(self, slots: Sequence[int], counts: Sequence[int]) -> list[SlotSpan]:
        ends: dict[int, int] = {}
        spans = []
        for slot, count in zip(slots, counts, strict=True):
            spans.append(span := SlotSpan(slot, ends.get(slot, self._states.cache.lengths[slot]), count))
            ends[slot] = span.stop
        return spans

    def _inputs(
        self, speaking: Sequence[int], pieces: Sequence[PrefixPiece]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (N, H), encoded patches or zeros (N, H), whether a position is audio (N, 1)."""
        network, device = self._network, self._network.device
        is_audio = np.concatenate([np.ones(len(speaking), bool), *(piece.is_audio for piece in pieces)])
        ids = np.concatenate([np.zeros(len(speaking), np.int64), *(piece.ids for piece in pieces)])
        places = torch.from_numpy(np.flatnonzero(is_audio)).to(device)
        audio = torch.from_numpy(is_audio).to(device).unsqueeze(1)
        embedded = network.embed(torch.from_numpy(ids).to(device))
        encoded = torch.zeros_like(embedded)
        if patches := self._patches(speaking, pieces):
            encoded[places] = network.encode(torch.cat(patches))
        return torch.where(audio, encoded, embedded), encoded, audio

    def _patches(self, speaking: Sequence[int], pieces: Sequence[PrefixPiece]) -> list[Tensor]:
        device = self._network.device
        known = [self._states.patch[torch.tensor(speaking).to(device)]] if speaking else []
        given = [piece.patches for piece in pieces if len(piece.patches)]
        return [*known, torch.from_numpy(np.concatenate(given)).to(device)] if given else known


class BucketedPass:
    """Speaking rows in few shapes and static buffers, as CUDA graphs; pieces by a pass of their own: what an
    accelerator is fastest with."""

    def __init__(self, network: VoxCPMNetwork, states: SlotStates) -> None:
        self._network = network
        self._states = states
        self._pieces = JointPass(network, states)
        self._row_buckets = row_buckets(states.scratch)
        self._key_buckets = key_buckets(states.cache.max_length)
        # Slot, and length before the new position.
        self._rows = torch.zeros(self._row_buckets[-1], 2, dtype=torch.int64, device=network.device)
        shapes = list(product(reversed(self._row_buckets), reversed(self._key_buckets)))
        self.step = GraphedWork(self._step, shapes)
        self._rows[:, 0] = states.scratch

    def compute(self, speaking: Sequence[int], pieces: Sequence[PrefixPiece]) -> None:
        if speaking:
            self._speak(speaking)
        self._pieces.compute([], pieces)

    def _speak(self, slots: Sequence[int]) -> None:
        cache = self._states.cache
        lengths = [cache.lengths[slot] for slot in slots]
        if max(lengths) >= cache.max_length:
            raise ValueError(f"a slot has room for {cache.max_length} positions and is full")
        rows = smallest(self._row_buckets, len(slots))
        host = torch.zeros(rows, 2, dtype=torch.int64)
        host[:, 0] = self._states.scratch
        host[: len(slots)] = torch.tensor([slots, lengths]).T
        self._rows[:rows].copy_(host)
        self.step((rows, smallest(self._key_buckets, max(lengths) + 1)))
        for slot, length in zip(slots, lengths, strict=True):
            cache.lengths[slot] = length + 1

    def _step(self, shape: tuple[int, int]) -> None:
        rows, keys = shape
        slots, lengths = self._rows[:rows].unbind(1)
        states = self._states
        encoded = self._network.encode(states.patch.index_select(0, slots))
        base, residual = self._network.step(states.cache, slots, lengths, keys, encoded)
        states.base[slots] = base
        states.residual[slots] = residual
