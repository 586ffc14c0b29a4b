"""A model for tests that has the stages of another one, by name, and computes nothing: so a config file can be served
as it is without weights and cards. A text becomes a tone when every stage has been asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, ClassVar

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from deployments.core import pipeline, settings
from deployments.core.catalogue import ModelCard, VoiceCard
from deployments.core.metrics import StageMonitor, scaling_stats
from deployments.core.pipeline import Plan
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd
from deployments.core.stages import Stage, answer
from toys.tones import SAMPLE_RATE_HZ, TONE_S, tone


class Silent:
    """A stage."""

    async def work(self) -> bool:
        return True

    async def record_autoscaling_stats(self) -> dict[str, float]:
        return scaling_stats(0, 1)


class StandInSettings(settings.Settings):
    stages: tuple[str, ...]  # full names of the deployments


class Pipeline(pipeline.Pipeline):
    Settings: ClassVar[type[settings.Settings]] = StandInSettings

    def __init__(
        self, name: str, settings: StandInSettings, stages: Mapping[str, DeploymentHandle[Any]]
    ) -> None:
        self.monitor = StageMonitor()
        self._stages = stages
        self.voices = (VoiceCard(id=f"{name}-tone", name="Tone", model=name, language="en"),)
        self.card = ModelCard(name, __name__, SAMPLE_RATE_HZ, ("en",), self.voices[0].id)

    @classmethod
    def deployments(cls, name: str, settings: StandInSettings) -> dict[str, Application]:
        return {stage: Stage(f"{__name__}.Silent", num_cpus=0.1).bind(stage) for stage in settings.stages}

    @classmethod
    def check_files(cls, settings: StandInSettings) -> None:
        return None

    async def ready(self) -> bool:
        for stage in self._stages.values():
            await answer(stage.work.remote())
        return True

    async def plan(self, request: SpeechRequest) -> Plan:
        return Plan(request, self.voices[0], request.speed)

    async def stream(self, plan: Plan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        await self.ready()
        yield AudioChunk(tone(0), 0)
        yield StreamEnd(TONE_S)
