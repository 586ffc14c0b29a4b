"""What the stages tell about themselves. It comes along with their replies, so that nobody has to ask for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

# What a replica tells Serve's autoscaler: how much it has to do, and how much of that it works on together.
WORK, CAPACITY = "work", "capacity"
FORGOTTEN_AFTER_S = 60.0  # a replica from which nothing was heard for so long counts no more


@dataclass(frozen=True, slots=True)
class StageMetrics:
    """One replica of a stage: its capacity, its state now, counters since its start, running means of the last jobs.

    Rows are what a job takes of the capacity: 1, or for instance the beams of a beam search.
    """

    replica: str
    rows: int  # that can be worked on together
    held_jobs: int = 0
    held_rows: int = 0
    waiting_jobs: int = 0
    waiting_rows: int = 0
    steps: int = 0
    rows_stepped: int = 0  # sum of all batch sizes
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    batch_rows: float = 0.0  # running means from here on; 0 before the first value
    step_s: float = 0.0
    wait_s: float = 0.0  # from arrival to the first step
    service_s: float = 0.0  # from the first step to the end

    def scaling_stats(self) -> dict[str, float]:
        """Rows that are worked on and wait, over those that there are."""
        return scaling_stats(self.held_rows + self.waiting_rows, self.rows)


def scaling_stats(work: float, capacity: float) -> dict[str, float]:
    """What `record_autoscaling_stats` of a stage returns; both in the unit of which the stage runs short first."""
    return {WORK: float(work), CAPACITY: float(capacity)}


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """What a stage sends back: the result, and how the replica is that made it."""

    value: T
    metrics: StageMetrics


class StageMonitor:
    """The last word of every replica of a model's stages. Used from one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[str, dict[str, tuple[float, StageMetrics]]] = {}

    def heard(self, stage: str, reply: Reply[T]) -> T:
        """Take note of the metrics of a reply, and give its value."""
        self._heard.setdefault(stage, {})[reply.metrics.replica] = self._clock(), reply.metrics
        return reply.value

    def stages(self) -> Mapping[str, list[StageMetrics]]:
        """By stage, the replicas heard of within the last minute."""
        oldest = self._clock() - FORGOTTEN_AFTER_S
        return {
            stage: [metrics for heard_s, metrics in replicas.values() if heard_s >= oldest]
            for stage, replicas in self._heard.items()
        }

    def replicas(self, stage: str) -> int:
        """Replicas of a stage, at least the one that must be there."""
        return max(1, len(self.stages().get(stage, ())))

    def rows(self, stage: str, otherwise: int) -> int:
        """The capacity of all replicas of a stage together; `otherwise` where none was heard of."""
        return sum(metrics.rows for metrics in self.stages().get(stage, ())) or otherwise
