"""A model whose stages compute nothing and take their time: a step engine with slots, and a vocoder with batches.

Everything but the steps is the product's own: engines, batches, what they report to the autoscaler, streams.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from deployments.core import pipeline, settings
from deployments.core.catalogue import ModelCard, VoiceCard
from deployments.core.metrics import Reply, StageMonitor
from deployments.core.pipeline import Plan
from deployments.core.ray_internals import by_value
from deployments.core.speech import AudioChunk, Samples, SpeechRequest, StreamEnd
from deployments.core.stages import Stage, answer, items, replica_name
from deployments.engine.batcher import Batcher
from deployments.engine.step_engine import StepEngine
from deployments.engine.step_model import Outcome

RATE_HZ = 8_000
STEP_AUDIO_S = 0.2  # of every step, each of which says a word


class ToySettings(settings.Settings):
    slots: int = Field(default=4, ge=1, description="streams spoken together by one replica")
    step_s: float = Field(default=0.2, gt=0, description="of a step, whatever the number of streams in it")
    start_s: float = Field(default=0.0, ge=0, description="in which a replica loads its weights")
    quality_rank: int = 0


@dataclass(frozen=True, slots=True)
class TalkJob:
    words: int


@dataclass(eq=False, slots=True)
class TalkRow:
    words: int
    said: int = 0


class TalkModel:
    """Satisfies StepModel[TalkJob, TalkRow, int]: the number of each word, one a step."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s

    def width(self, job: TalkJob) -> int:
        return 1

    def admit(self, job: TalkJob) -> TalkRow:
        return TalkRow(job.words)

    def cost(self, rows: Sequence[TalkRow]) -> int:
        return len(rows)

    def step(self, rows: Sequence[TalkRow]) -> list[Outcome[int]]:
        time.sleep(self._step_s)
        for row in rows:
            row.said += 1
        return [Outcome((row.said,), done=row.said >= row.words, made_s=STEP_AUDIO_S) for row in rows]

    def release(self, row: TalkRow) -> None: ...


class Talker:
    async def __init__(self, settings: ToySettings) -> None:  # type: ignore[misc]  # Serve awaits it
        await asyncio.sleep(settings.start_s)
        self._engine: StepEngine[TalkJob, TalkRow, int] = StepEngine(
            TalkModel(settings.step_s),
            name="talker",
            max_rows=settings.slots,
            max_step_cost=settings.slots,
            max_waiting=10_000,
            replica=replica_name(),
        )
        self._engine.start()

    async def stream(self, job: TalkJob) -> AsyncGenerator[Reply[int], None]:
        async with aclosing(self._engine.run(job)) as words:
            async for word in words:
                yield self._engine.reply(word)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Streams spoken and waiting, over slots. Serve asks for it by this name."""
        return self._engine.metrics().scaling_stats()

    async def ready(self) -> bool:
        return True

    def check_health(self) -> None:
        self._engine.check_health()


class ToyVocoder:
    async def __init__(self, settings: ToySettings) -> None:  # type: ignore[misc]  # Serve awaits it
        await asyncio.sleep(settings.start_s)
        self._batches = Batcher("vocoder", max_batch=8, replica=replica_name())

    async def vocode(self, word: int) -> Reply[Samples]:
        return self._batches.reply(await self._batches.run(_tones, word))

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Words vocoded and waiting, over those of a batch. Serve asks for it by this name."""
        return self._batches.metrics().scaling_stats()

    async def ready(self) -> bool:
        return True


def _tones(words: Sequence[int]) -> list[Samples]:
    time_s = np.arange(round(STEP_AUDIO_S * RATE_HZ)) / RATE_HZ
    return [
        (0.3 * np.sin(2 * np.pi * (200 + 20 * (word % 20)) * time_s)).astype(np.float32) for word in words
    ]


class Pipeline(pipeline.Pipeline):
    Settings: ClassVar[type[settings.Settings]] = ToySettings

    def __init__(self, name: str, settings: ToySettings, stages: Mapping[str, DeploymentHandle[Any]]) -> None:
        self.monitor = StageMonitor()
        self._stages = stages
        self._talker = by_value(stages["talker"], stream=True)
        self._vocoder = by_value(stages["vocoder"])
        self.voices = (VoiceCard(id=f"{name}-tone", name="Tone", model=name, language="en"),)
        self.card = ModelCard(
            name=name,
            kind=__name__,
            sample_rate_hz=RATE_HZ,
            languages=("en",),
            default_voice=self.voices[0].id,
            quality_rank=settings.quality_rank,
            description="Tones for words, one after the other",
        )

    @classmethod
    def deployments(cls, name: str, settings: ToySettings) -> dict[str, Application]:
        stages = {"talker": "Talker", "vocoder": "ToyVocoder"}
        return {
            key: Stage(f"{__name__}.{found}", {"settings": settings}, 0.1).bind(f"{name}-{key}")
            for key, found in stages.items()
        }

    @classmethod
    def check_files(cls, settings: ToySettings) -> None:
        return None

    async def ready(self) -> bool:
        return all(await asyncio.gather(*(answer(stage.ready.remote()) for stage in self._stages.values())))

    async def plan(self, request: SpeechRequest) -> Plan:
        return Plan(request, self.voices[0], request.speed, ignored=tuple(request.params))

    async def stream(self, plan: Plan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        job = TalkJob(len(plan.request.text.split()))
        words = items(self._talker.stream.remote(job))
        async with aclosing(words):
            async for reply in words:
                word = self.monitor.heard("talker", reply)
                vocoded = await answer(self._vocoder.vocode.remote(word))
                yield AudioChunk(self.monitor.heard("vocoder", vocoded), 0)
        yield StreamEnd(job.words * STEP_AUDIO_S)
