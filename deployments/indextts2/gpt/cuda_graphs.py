"""The step on an accelerator: one code for each of many slots, in few shapes and static buffers, as CUDA graphs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from deployments.engine.cuda_graphs import GraphedWork, key_buckets, row_buckets, smallest, try_to_capture
from deployments.indextts2.gpt.attention import SlotCache, StepAttention
from deployments.indextts2.gpt.forward import CodeInput, StepInputs, StepStates
from deployments.indextts2.gpt.model import SpeechGpt


class BucketedStep:
    """Rows are filled up to a bucket with writes to the scratch slot, the last one of the cache."""

    def __init__(self, model: SpeechGpt, cache: SlotCache, *, graphs: bool) -> None:
        """`graphs`: capture every bucket now. Where that fails the reason is logged and steps run eagerly."""
        self._model = model
        self._cache = cache
        self._scratch = cache.slots - 1
        self.row_buckets = row_buckets(self._scratch)
        self.key_buckets = key_buckets(cache.max_length)
        # Rows of an input buffer: slot, length before, code, position.
        self._inputs = {rows: self._idle(rows).to(cache.device) for rows in self.row_buckets}
        shapes = list(product(reversed(self.row_buckets), reversed(self.key_buckets)))
        self._step = GraphedWork(self._states, shapes)
        if graphs:
            try_to_capture("the GPT", [self._step], cache.device)

    @property
    def captured(self) -> int:
        return self._step.captured

    @torch.inference_mode()
    def __call__(self, entries: Sequence[CodeInput]) -> Tensor:
        """States (len(entries),D), valid until the next call; at most one entry per slot."""
        lengths = [self._cache.lengths[entry.slot] for entry in entries]
        if max(lengths) >= self._cache.max_length:
            raise ValueError(f"a slot has room for {self._cache.max_length} positions and is full")
        rows = smallest(self.row_buckets, len(entries))
        keys = smallest(self.key_buckets, max(lengths) + 1)
        host = self._idle(rows)
        host[:, : len(entries)] = torch.tensor(
            [
                [entry.slot for entry in entries],
                lengths,
                [entry.code for entry in entries],
                [entry.position for entry in entries],
            ]
        )
        self._inputs[rows].copy_(host)
        states = self._step((rows, keys))
        for entry, length in zip(entries, lengths, strict=True):
            self._cache.lengths[entry.slot] = length + 1
        return states[: len(entries)]

    def _states(self, shape: tuple[int, int]) -> Tensor:
        rows, keys = shape
        slots, lengths, codes, positions = self._inputs[rows].unbind()
        attention = StepAttention(self._cache, slots, lengths, keys)
        return self._model.states(self._model.embed(codes, positions), attention)

    def _idle(self, rows: int) -> Tensor:
        idle = torch.zeros(4, rows, dtype=torch.int64)
        idle[0] = self._scratch
        return idle


class SplitForward:
    """Codes by bucketed steps, pieces by a pass of their own: what an accelerator is fastest with."""

    latents_at_once = 1  # as a row of the bucketed step a latent costs next to nothing

    def __init__(self, model: SpeechGpt, cache: SlotCache, step: BucketedStep) -> None:
        self._model = model
        self._cache = cache
        self._step = step

    def compute(self, inputs: StepInputs) -> StepStates:
        pieces = self._model.extend(self._cache, inputs.pieces) if inputs.pieces else []
        codes = self._step(inputs.codes) if inputs.codes else pieces[0][:0]
        return StepStates(codes, pieces)
