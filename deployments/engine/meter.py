"""Counting what a step engine does: for metrics, and for planning how long a piece of work will take."""

from __future__ import annotations

from deployments.core.metrics import StageMetrics

MEMORY = 0.9  # weight of the past in running means: they follow the last ten or so values


class RunningMean:
    def __init__(self) -> None:
        self.value = 0.0
        self._weight = 0.0

    def add(self, value: float) -> None:
        self._weight = MEMORY * self._weight + 1
        self.value += (value - self.value) / self._weight


class Meter:
    """Written and read under the engine's lock. `replica` names the process in the metrics, `rows` is its capacity."""

    def __init__(self, replica: str, rows: int) -> None:
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
