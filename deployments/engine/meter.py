"""Counting what a step engine does: for metrics, and for planning how long a piece of work will take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deployments.core.logs import request_id_of
from deployments.core.metrics import StageMetrics
from deployments.core.tracing import Tracer, tracer

if TYPE_CHECKING:
    from deployments.core.histograms import StageHistograms

MEMORY = 0.9  # weight of the past in running means: they follow the last ten or so values


class RunningMean:
    def __init__(self) -> None:
        self.value = 0.0
        self._weight = 0.0

    def add(self, value: float) -> None:
        self._weight = MEMORY * self._weight + 1
        self.value += (value - self.value) / self._weight


class Meter:
    """Written and read under the engine's lock. `replica` names the process in the metrics, where it is one that
    exports any; `rows` is its capacity; `stage` names the engine in histograms and traces."""

    def __init__(self, replica: str, rows: int, stage: str) -> None:
        self._stage = stage
        self._histograms = _histograms(stage) if replica else None
        self._tracer: Tracer | None = tracer() if replica else None
        self.replica = replica
        self.rows = rows
        self.steps = 0
        self.rows_stepped = 0
        self.finished = 0
        self.failed = 0
        self.cancelled = 0
        self.refused = 0
        self.batch_rows = RunningMean()
        self.step_s = RunningMean()
        self.wait_s = RunningMean()
        self.service_s = RunningMean()

    def stepped(self, rows: int, seconds: float) -> None:
        self.steps += 1
        self.rows_stepped += rows
        self.batch_rows.add(rows)
        self.step_s.add(seconds)
        if self._histograms is not None:
            self._histograms.stepped(rows, seconds)

    def began(self, job: object, arrived_s: float) -> None:
        """The first step of a job comes now; it arrived at `arrived_s`, by time.monotonic()."""
        now_s = time.monotonic()
        self.wait_s.add(now_s - arrived_s)
        if self._histograms is not None:
            self._histograms.waited(now_s - arrived_s)
        self._trace(job, f"{self._stage} queue", arrived_s, now_s)

    def ended(self, job: object, began_s: float, error: BaseException | None = None) -> None:
        """A job that began at `began_s` has ended."""
        now_s = time.monotonic()
        if error is None:
            self.finished += 1
            self.service_s.add(now_s - began_s)
            if self._histograms is not None:
                self._histograms.computed(now_s - began_s)
        else:
            self.failed += 1
        self._trace(job, self._stage, began_s, now_s, "" if error is None else type(error).__name__)

    def _trace(self, job: object, name: str, began_s: float, ended_s: float, error: str = "") -> None:
        if self._tracer is not None and (request_id := request_id_of(job)):
            self._tracer.part(request_id, name, began_s, ended_s, {"replica": self.replica}, error)

    def metrics(
        self, *, held_jobs: int, held_rows: int, waiting_jobs: int, waiting_rows: int
    ) -> StageMetrics:
        return StageMetrics(
            replica=self.replica,
            rows=self.rows,
            held_jobs=held_jobs,
            held_rows=held_rows,
            waiting_jobs=waiting_jobs,
            waiting_rows=waiting_rows,
            steps=self.steps,
            rows_stepped=self.rows_stepped,
            finished=self.finished,
            failed=self.failed,
            cancelled=self.cancelled,
            refused=self.refused,
            batch_rows=self.batch_rows.value,
            step_s=self.step_s.value,
            wait_s=self.wait_s.value,
            service_s=self.service_s.value,
        )


def _histograms(stage: str) -> StageHistograms:
    from deployments.core.histograms import StageHistograms  # noqa: PLC0415  (imports Ray)

    return StageHistograms(stage)
