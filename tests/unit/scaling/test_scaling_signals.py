"""What stages report to the autoscaler: how much they have to do, in the unit of which they run short first."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve import Application

from deployments.core.metrics import CAPACITY, WORK, StageMetrics, scaling_stats
from deployments.core.pipeline import families, find_kind
from deployments.core.ray_internals import bound_deployments
from deployments.engine.batcher import Batcher
from deployments.engine.step_engine import StepEngine
from deployments.engine.step_model import Outcome
from deployments.indextts2.s2mel.engine import S2MelEngine


def test_an_engine_reports_its_rows() -> None:
    metrics = StageMetrics("a", rows=48, held_rows=40, waiting_rows=20)
    assert metrics.scaling_stats() == {WORK: 60.0, CAPACITY: 48.0}


class Endless:
    """A step model whose jobs never end."""

    def width(self, job: str) -> int:
        return 1

    def admit(self, job: str) -> str:
        return job

    def cost(self, rows: Any) -> int:
        return len(rows)

    def step(self, rows: Any) -> list[Outcome[None]]:
        return [Outcome() for _ in rows]

    def release(self, row: str) -> None: ...


async def test_the_jobs_of_an_engine_are_those_that_run_and_those_that_wait() -> None:
    engine: StepEngine[str, str, None] = StepEngine(
        Endless(), name="endless", max_rows=1, max_step_cost=1, max_waiting=5
    )
    engine.start()

    async def take(job: str) -> None:
        async for _ in engine.run(job):
            pass

    tasks = [asyncio.create_task(take(job)) for job in ("a", "b", "c")]
    try:
        while len(engine.jobs()) < 3:
            await asyncio.sleep(0.001)
        assert sorted(engine.jobs()) == ["a", "b", "c"]
        assert engine.metrics().scaling_stats() == {WORK: 3.0, CAPACITY: 1.0}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        engine.stop()


@pytest.mark.parametrize(
    ("frames", "work", "capacity"),
    [((), 0, 1000), ((300, 400), 700, 1000), ((300, 400, 800), 1500, 1000), ((1600, 100), 1700, 1600)],
)
def test_s2mel_reports_its_backlog_in_frames(frames: tuple[int, ...], work: float, capacity: float) -> None:
    engine = S2MelEngine.__new__(S2MelEngine)
    engine._max_step_frames = 1000
    engine._engine = SimpleNamespace(jobs=lambda: frames)  # type: ignore[assignment]
    engine._model = SimpleNamespace(work_frames=lambda task: task)  # type: ignore[assignment]
    assert engine.scaling_stats() == scaling_stats(work, capacity)


async def test_a_batcher_reports_what_waits_over_a_batch() -> None:
    batches = Batcher("windows", max_batch=8)
    tasks = [asyncio.create_task(batches.run(list, number)) for number in range(5)]
    await asyncio.sleep(0)
    assert batches.metrics().scaling_stats() == {WORK: 5.0, CAPACITY: 8.0}
    await asyncio.gather(*tasks)
    assert batches.metrics().scaling_stats()[WORK] == 0.0


@pytest.mark.parametrize("family", families())
def test_every_stage_of_every_family_reports(family: str) -> None:
    """A stage that does not keeps its number whatever the load."""
    pipeline = find_kind(family)
    applications: dict[str, Application] = pipeline.deployments("model", pipeline.Settings())
    for application in applications.values():
        for deployment in bound_deployments(application).values():
            module, _, name = str(deployment.func_or_class).rpartition(".")
            stage = getattr(importlib.import_module(module), name)
            assert inspect.iscoroutinefunction(stage.record_autoscaling_stats), stage
