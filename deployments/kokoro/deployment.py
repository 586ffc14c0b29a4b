"""What Serve calls for Kokoro."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from deployments.core.metrics import Reply, StageMetrics
from deployments.core.stages import replica_name
from deployments.engine.step_engine import StepEngine
from deployments.kokoro.job import KokoroJob, Spoken
from deployments.kokoro.model import KokoroModel, Row
from deployments.kokoro.settings import KokoroSettings
from deployments.streaming.cost import Pace
from deployments.weights.registry import find_model

Engine = StepEngine[KokoroJob, Row, Spoken]


class Kokoro:
    """One replica: one queue, in which the segment that a listener needs first is next, and a second one for those that
    are spoken beside another."""

    async def __init__(self, settings: KokoroSettings) -> None:  # type: ignore[misc]  # Serve awaits it
        def load() -> tuple[KokoroModel, Pace]:
            model = KokoroModel(
                find_model(settings.checkpoint),
                threads=settings.threads,
                glossary=Path(settings.glossary) if settings.glossary else None,
            )
            model.warm_up(settings.warm_languages)
            return model, model.pace()

        model, self._pace = await asyncio.to_thread(load)
        lanes = 1 if self._pace.pairs is None else 2
        self._lanes: list[Engine] = [
            StepEngine(
                model,
                name="kokoro",
                max_rows=1,
                max_step_cost=1,
                max_waiting=settings.max_waiting_segments,
                replica=replica_name(),
            )
            for _ in range(lanes)
        ]
        for engine in self._lanes:
            engine.start()

    async def synthesise(self, job: KokoroJob) -> Reply[Spoken]:
        """One segment. Raises InvalidRequest, Overloaded, DeadlineExceeded, Unavailable."""
        engine = self._lanes[0] if job.alone else min(self._lanes, key=_jobs)
        spoken = await engine.result(job, slack_s=job.slack_s, deadline=job.deadline, refusable=job.refusable)
        return Reply(spoken, self._metrics())

    async def pace(self) -> Pace:
        """What segments took when this replica started."""
        return self._pace

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Segments spoken and waiting, over lanes. Serve asks for it by this name."""
        return self._metrics().scaling_stats()

    async def ready(self) -> bool:
        self.check_health()
        return True

    def _metrics(self) -> StageMetrics:
        return _together([lane.metrics() for lane in self._lanes])

    def check_health(self) -> None:
        for engine in self._lanes:
            engine.check_health()


def _jobs(engine: Engine) -> int:
    metrics = engine.metrics()
    return metrics.held_jobs + metrics.waiting_jobs


def _together(lanes: Sequence[StageMetrics]) -> StageMetrics:
    """Of one replica: sums, and means weighted by what was done."""
    first, *others = lanes
    if not others:
        return first
    weight = sum(lane.finished for lane in lanes) or 1
    return StageMetrics(
        first.replica,
        **{
            name: sum(getattr(lane, name) for lane in lanes)
            if isinstance(value, int)
            else sum(getattr(lane, name) * lane.finished for lane in lanes) / weight
            for name, value in asdict(first).items()
            if name != "replica"
        },
    )
