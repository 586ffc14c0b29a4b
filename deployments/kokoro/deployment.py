"""What Serve calls for Kokoro."""

from __future__ import annotations

import asyncio

from deployments.core.metrics import Reply
from deployments.core.speech import Samples
from deployments.core.stages import replica_name
from deployments.engine.step_engine import StepEngine
from deployments.kokoro.job import KokoroJob
from deployments.kokoro.model import KokoroModel
from deployments.kokoro.settings import KokoroSettings
from deployments.weights.registry import find_model


class Kokoro:
    """One replica: one ONNX session and its queue, in which the segment that a listener needs first is next."""

    async def __init__(self, settings: KokoroSettings) -> None:  # type: ignore[misc]  # Serve awaits it
        def load() -> KokoroModel:
            model = KokoroModel(find_model(settings.checkpoint), threads=settings.threads)
            model.warm_up(settings.warm_languages)
            return model

        model = await asyncio.to_thread(load)
        self._engine: StepEngine[KokoroJob, KokoroJob, Samples] = StepEngine(
            model,
            name="kokoro",
            max_rows=1,
            max_step_cost=1,
            max_waiting=settings.max_waiting_segments,
            replica=replica_name(),
        )
        self._engine.start()

    async def synthesise(self, job: KokoroJob) -> Reply[Samples]:
        """Samples (n,) at 24 kHz of one segment. Raises InvalidRequest, Overloaded, DeadlineExceeded, Unavailable."""
        samples = await self._engine.result(
            job, slack_s=job.slack_s, deadline=job.deadline, refusable=job.refusable
        )
        return self._engine.reply(samples)

    async def ready(self) -> bool:
        self.check_health()
        return True

    def check_health(self) -> None:
        self._engine.check_health()
