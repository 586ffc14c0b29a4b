"""What a model offers so that a step engine can run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Job = TypeVar("Job")
Row = TypeVar("Row")
Out = TypeVar("Out")
Job_contra = TypeVar("Job_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Out_co]):
    """What one step did for one row. A row that is done or has an error is released and never stepped again.

    Outputs reach the caller in order, before the error if there is one. `made_s`: audio that the step made, where it
    makes a stream step by step.
    """

    outputs: tuple[Out_co, ...] = ()
    done: bool = False
    error: Exception | None = None
    made_s: float = 0.0


class StepModel(Protocol[Job_contra, Row, Out_co]):
    """All methods but `width` run in the engine's thread; a row belongs to the model and is opaque to the engine."""

    def width(self, job: Job_contra) -> int:
        """How much of `max_rows` the job will hold: 1, or the beams of a beam search. Any thread; cheap and pure."""
        ...

    def admit(self, job: Job_contra) -> Row:
        """A row for the job, before its first step. What this raises fails that request alone.

        Every running row waits meanwhile: heavy work belongs in the first step, where it shares a batch and
        counts as cost.
        """
        ...

    def cost(self, rows: Sequence[Row]) -> int:
        """Cost of stepping these rows together, in the unit of `max_step_cost`; must not fall if a row is added."""
        ...

    def step(self, rows: Sequence[Row]) -> Sequence[Outcome[Out_co]]:
        """Advance the rows, most urgent first, by one step: one outcome each, in the same order.

        An exception means that the model is broken: all requests fail and the engine stops.
        """
        ...

    def release(self, row: Row) -> None:
        """Let go of what the row holds; called exactly once per admitted row, however it ended."""
        ...
