"""A model that counts, and notices every breach of the engine's promises."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deployments.engine.step_engine import StepEngine
from deployments.engine.step_model import Outcome


class AdmissionError(Exception):
    pass


class RowError(Exception):
    pass


@dataclass(frozen=True)
class Count:
    """Outputs name:0 … name:steps-1, one per step."""

    name: str
    steps: int = 1
    width: int = 1
    cost: int = 1
    admission_fails: bool = False
    fails_at: int | None = None


@dataclass(eq=False)
class Counter:
    job: Count
    at: int = 0


@dataclass
class Counting:
    """step_s: how long a step takes; on_step: called first in every step."""

    step_s: float = 0.0
    on_step: Callable[[], None] = lambda: None
    rows: list[Counter] = field(default_factory=list)
    steps: list[list[str]] = field(default_factory=list)
    admitted: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    widest: int = 0

    def width(self, job: Count) -> int:
        return job.width

    def admit(self, job: Count) -> Counter:
        self.threads.add(threading.get_ident())
        if job.admission_fails:
            raise AdmissionError(job.name)
        row = Counter(job)
        self.rows.append(row)
        self.admitted.append(job.name)
        self.widest = max(self.widest, sum(each.job.width for each in self.rows))
        return row

    def cost(self, rows: Sequence[Counter]) -> int:
        return sum(row.job.cost for row in rows)

    def step(self, rows: Sequence[Counter]) -> list[Outcome[str]]:
        self.threads.add(threading.get_ident())
        assert len(set(map(id, rows))) == len(rows)
        assert all(row in self.rows for row in rows), "a released row was stepped"
        self.steps.append([row.job.name for row in rows])
        self.on_step()
        time.sleep(self.step_s)
        return [self._advance(row) for row in rows]

    def _advance(self, row: Counter) -> Outcome[str]:
        at = row.at
        row.at += 1
        if at == row.job.fails_at:
            return Outcome(error=RowError(row.job.name))
        return Outcome((f"{row.job.name}:{at}",), done=row.at == row.job.steps)

    def release(self, row: Counter) -> None:
        self.threads.add(threading.get_ident())
        self.rows.remove(row)  # raises the second time
        self.released.append(row.job.name)


def outputs(job: Count) -> list[str]:
    steps = job.steps if job.fails_at is None else min(job.steps, job.fails_at)
    return [f"{job.name}:{i}" for i in range(steps)]


def engine_of(
    model: Counting,
    *,
    max_rows: int = 4,
    max_step_cost: int = 1000,
    max_waiting: int = 1000,
    step_timeout_s: float = 60.0,
) -> StepEngine[Count, Counter, str]:
    return StepEngine(
        model,
        name="toy",
        max_rows=max_rows,
        max_step_cost=max_step_cost,
        max_waiting=max_waiting,
        step_timeout_s=step_timeout_s,
    )
