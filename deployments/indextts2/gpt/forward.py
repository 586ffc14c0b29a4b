"""What the rows of one step feed to the network, and how it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from deployments.indextts2.gpt.attention import SlotCache
from deployments.indextts2.gpt.model import PIECE, SpeechGpt


@dataclass(frozen=True, slots=True)
class CodeInput:
    """One code to be appended to a slot, with its mel position index."""

    slot: int
    code: int
    position: int


class LongInput:
    """Embeddings (T,D) for one slot, cut into pieces at places that depend on nothing but T."""

    def __init__(self, slot: int, rows: Tensor) -> None:
        self.slot = slot
        self._pieces = list(reversed(rows.split(PIECE)))

    @property
    def done(self) -> bool:
        return not self._pieces

    @property
    def next_rows(self) -> int:
        return len(self._pieces[-1])

    def next_piece(self) -> Tensor:
        return self._pieces.pop()


class StepInputs:
    """Collects the inputs of a step. Each `add` returns where in the StepStates the result will be.

    Of long inputs the step takes `prefill_rows` rows at most, and one piece at least, so that rows that are past their
    prefix are not held up by those that join.
    """

    def __init__(self, prefill_rows: int) -> None:
        self.codes: list[CodeInput] = []
        self.pieces: list[tuple[int, Tensor]] = []  # slot, embeddings (T,D)
        self._rows_left = prefill_rows
        self._has_long_input = False

    def add_code(self, code: CodeInput) -> int:
        self.codes.append(code)
        return len(self.codes) - 1

    def add_piece(self, slot: int, rows: Tensor) -> int:
        self.pieces.append((slot, rows))
        return len(self.pieces) - 1

    def add_pieces(self, source: LongInput) -> list[int]:
        """As many pieces of a long input as there is room for."""
        added = []
        while not source.done and (source.next_rows <= self._rows_left or not self._has_long_input):
            self._has_long_input = True
            self._rows_left -= source.next_rows
            added.append(self.add_piece(source.slot, source.next_piece()))
        return added


@dataclass(frozen=True, slots=True)
class StepStates:
    """States after both final norms: of the codes (C,D), and of each piece (T,D)."""

    codes: Tensor
    pieces: list[Tensor]


class Forward(Protocol):
    """A way to compute a step. latents_at_once: so many latents of a stream are computed together where they can wait
    for each other; what completes a chunk does not wait."""

    latents_at_once: int

    def compute(self, inputs: StepInputs) -> StepStates:
        """Append all inputs to their slots."""
        ...


class JointForward:
    """Everything in one pass over the weights, every span by itself: what a CPU is fastest with."""

    latents_at_once = PIECE  # a slot's keys and values are read once for all rows of a span

    def __init__(self, model: SpeechGpt, cache: SlotCache) -> None:
        self._model = model
        self._cache = cache

    def compute(self, inputs: StepInputs) -> StepStates:
        slots = [entry.slot for entry in inputs.codes] + [slot for slot, _ in inputs.pieces]
        rows = [rows for _, rows in inputs.pieces]
        counts = [1] * len(inputs.codes) + [len(piece) for piece in rows]
        if inputs.codes:
            codes = [entry.code for entry in inputs.codes]
            rows.insert(0, self._model.embed(codes, [entry.position for entry in inputs.codes]))
        joined = torch.cat(rows) if len(rows) > 1 else rows[0]
        states = self._model.append(self._cache, slots, counts, joined)
        first_piece = len(inputs.codes)
        return StepStates(states[:first_piece], list(states.split(counts))[first_piece:])
