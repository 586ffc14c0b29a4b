"""What the rows of one step want computed, and the ways to compute it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from deployments.indextts2.gpt.cache import SlotCache
from deployments.indextts2.gpt.model import PIECE, SpeechGpt


@dataclass(frozen=True, slots=True)
class CodeInput:
    """One code to be appended to a slot, with its mel position index."""

    slot: int
    code: int
    position: int


class Run:
    """A long run of inputs (T,D) for one slot, in pieces whose borders depend on nothing but the run."""

    def __init__(self, slot: int, rows: Tensor) -> None:
        self.slot = slot
        self._pieces = list(reversed(rows.split(PIECE)))

    @property
    def done(self) -> bool:
        return not self._pieces

    @property
    def next_rows(self) -> int:
        return len(self._pieces[-1])

    def take(self) -> Tensor:
        return self._pieces.pop()


class Pass:
    """Collects the inputs of a step; once computed, `code_states` (codes,D) and one `piece_states` per piece.

    At most `long_rows` rows of runs are taken, and at least one piece if there is any, so that what has begun
    is not held up by what joins.
    """

    def __init__(self, long_rows: int) -> None:
        self.codes: list[CodeInput] = []
        self.pieces: list[tuple[int, Tensor]] = []
        self.code_states: Tensor
        self.piece_states: list[Tensor]
        self._room = long_rows
        self._running = False

    def code(self, entry: CodeInput) -> int:
        """The index of the code's state."""
        self.codes.append(entry)
        return len(self.codes) - 1

    def piece(self, slot: int, rows: Tensor) -> int:
        """The index of the piece's states."""
        self.pieces.append((slot, rows))
        return len(self.pieces) - 1

    def advance(self, run: Run) -> list[int]:
        """As many pieces of a run as there is room for: the indices of their states."""
        taken = []
        while not run.done and (run.next_rows <= self._room or not self._running):
            self._running = True
            self._room -= run.next_rows
            taken.append(self.piece(run.slot, run.take()))
        return taken


class Computer(Protocol):
    """latents_at_once: a stream's latents are asked for when so many are due, or as soon as they complete a chunk."""

    latents_at_once: int

    def compute(self, work: Pass) -> None:
        """Append all inputs to their slots and fill in the states."""
        ...


class JointComputer:
    """Everything in one pass over the weights, every span by itself: what a CPU is fastest with."""

    latents_at_once = PIECE  # a slot's keys and values are read once for all rows of a span

    def __init__(self, model: SpeechGpt, cache: SlotCache) -> None:
        self._model = model
        self._cache = cache

    def compute(self, work: Pass) -> None:
        slots = [entry.slot for entry in work.codes] + [slot for slot, _ in work.pieces]
        rows = [rows for _, rows in work.pieces]
        counts = [1] * len(work.codes) + [len(piece) for piece in rows]
        if work.codes:
            codes = [entry.code for entry in work.codes]
            rows.insert(0, self._model.embed(codes, [entry.position for entry in work.codes]))
        joined = torch.cat(rows) if len(rows) > 1 else rows[0]
        states = self._model.append(self._cache, slots, counts, joined)
        work.code_states = states[: len(work.codes)]
        work.piece_states = list(states.split(counts))[len(work.codes) :]
