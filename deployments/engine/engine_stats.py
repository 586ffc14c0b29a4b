"""What a step engine tells about itself: for metrics, and for planning how long a piece of work will take."""

from __future__ import annotations

from dataclasses import dataclass

MEMORY = 0.9  # weight of the past in running means: they follow the last ten or so values


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counters since start, the state now, and running means of the last steps and requests."""

    active: int  # requests that hold a row
    waiting: int
    held_width: int  # capacity in use, of max_rows
    steps: int
    rows_stepped: int  # sum of all batch sizes
    finished: int
    failed: int
    cancelled: int
    refused: int
    batch_rows: float  # running means from here on; 0 before the first value
    step_s: float
    wait_s: float  # from arrival to admission
    service_s: float  # from admission to the end


class RunningMean:
    def __init__(self) -> None:
        self.value = 0.0
        self._weight = 0.0

    def add(self, value: float) -> None:
        self._weight = MEMORY * self._weight + 1
        self.value += (value - self.value) / self._weight


class Meter:
    """Written and read under the engine's lock."""

    def __init__(self) -> None:
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

    def stats(self, active: int, waiting: int, held_width: int) -> EngineStats:
        return EngineStats(
            active=active,
            waiting=waiting,
            held_width=held_width,
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
