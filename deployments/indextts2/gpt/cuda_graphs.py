"""The step on an accelerator: one code for each of many slots, in few shapes and static buffers, as CUDA graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deployments.core.logs import logger
from deployments.indextts2.gpt.attention import SlotCache, StepAttention
from deployments.indextts2.gpt.forward import CodeInput, StepInputs, StepStates
from deployments.indextts2.gpt.model import SpeechGpt

SHORTEST_KEYS = 256


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
        self._graphs: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        if graphs:
            self._try_to_capture()

    @property
    def captured(self) -> int:
        return len(self._graphs)

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
        states = self._replay(rows, keys)
        for entry, length in zip(entries, lengths, strict=True):
            self._cache.lengths[entry.slot] = length + 1
        return states[: len(entries)]

    def _replay(self, rows: int, keys: int) -> Tensor:
        captured = self._graphs.get((rows, keys))
        if captured is None:
            return self._states(rows, keys)
        graph, states = captured
        graph.replay()
        return states

    def _states(self, rows: int, keys: int) -> Tensor:
        slots, lengths, codes, positions = self._inputs[rows].unbind()
        attention = StepAttention(self._cache, slots, lengths, keys)
        return self._model.states(self._model.embed(codes, positions), attention)

    def _idle(self, rows: int) -> Tensor:
        idle = torch.zeros(4, rows, dtype=torch.int64)
        idle[0] = self._scratch
        return idle

    @torch.inference_mode()
    def _try_to_capture(self) -> None:
        if self._cache.device.type != "cuda":
            logger.info("CUDA graphs are off: the GPT runs on %s", self._cache.device)
            return
        device = self._cache.device
        try:
            # Streams belong to the current device: on another one a capture would stay empty. And a capture that
            # fails leaves its stream the current one of this thread, which the outer context undoes.
            with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
                pool: Any = torch.cuda.graph_pool_handle()
                # Largest first: the smaller ones then fit into the memory that it took.
                for rows in reversed(self.row_buckets):
                    for keys in reversed(self.key_buckets):
                        self._capture(rows, keys, pool)
        except Exception as error:
            self._graphs.clear()
            logger.warning(
                "CUDA graphs are off, steps run eagerly: capturing failed (%s: %s)",
                type(error).__name__,
                error,
            )

    def _capture(self, rows: int, keys: int, pool: Any) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries allocate at their first call, which cannot be captured
            for _ in range(2):
                self._states(rows, keys)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other stages may use the device from other threads of this process meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            states = self._states(rows, keys)
        self._graphs[rows, keys] = (graph, states)


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


def row_buckets(most: int) -> list[int]:
    """1, 2, 4, 8, then every 8 up to 32, then every 16 up to `most` or just above."""
    buckets = [1, 2, 4, 8]
    while buckets[-1] < most:
        buckets.append(buckets[-1] + (8 if buckets[-1] < 32 else 16))
    return [rows for rows in buckets if rows < most] + [smallest(buckets, most)]


def key_buckets(longest: int) -> list[int]:
    """Powers of two from SHORTEST_KEYS, and `longest`."""
    buckets = []
    keys = SHORTEST_KEYS
    while keys < longest:
        buckets.append(keys)
        keys *= 2
    return [*buckets, longest]


def smallest(buckets: Sequence[int], needed: int) -> int:
    """The smallest bucket that holds `needed`."""
    return next(bucket for bucket in buckets if bucket >= needed)
