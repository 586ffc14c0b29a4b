"""A model for tests: every word becomes a short tone, and some words are instructions.

`slow` makes each later tone take 50 ms, `refuse` raises before any audio, `break` raises after the first tone,
`die` ends the replica's process after the first tone (with `slow`, so that the tone gets out), `down` is a model that
is not ready. `SIGSEGV`, `SIGKILL` and other names of signals send it to the replica's process before the first tone.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Mapping
from typing import Any, ClassVar

import numpy as np
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from deployments.core import pipeline, settings
from deployments.core.catalogue import ModelCard, VoiceCard
from deployments.core.errors import Unavailable
from deployments.core.metrics import StageMonitor
from deployments.core.pipeline import Plan
from deployments.core.ray_internals import by_value
from deployments.core.speech import AudioChunk, Samples, SpeechRequest, StreamEnd
from deployments.core.stages import items

SAMPLE_RATE_HZ = 16_000
TONE_S = 0.1


def tone(position: int) -> Samples:
    time_s = np.arange(round(TONE_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.3 * np.sin(2 * np.pi * (200 + 20 * (position % 20)) * time_s)).astype(np.float32)


class Tones:
    def __init__(self) -> None:
        self.running = 0
        self.made = 0
        self.ended = 0

    async def tones(self, text: str, delay_s: float) -> AsyncGenerator[Samples, None]:
        words = text.split()
        self.running += 1
        try:
            if "refuse" in words:
                raise RuntimeError("the toy was told to refuse")
            if "down" in words:
                raise Unavailable("the toy is down", retry_after_s=1)
            for word in words:
                if word.startswith("SIG"):
                    os.kill(os.getpid(), signal.Signals[word])
                    await asyncio.sleep(5)
            for position in range(len(words)):
                if position or "late" in words:
                    await asyncio.sleep(delay_s)
                if position == 1 and "break" in words:
                    raise RuntimeError("the toy was told to break")
                if position == 1 and "die" in words:
                    os._exit(1)
                self.made += 1
                yield tone(position)
        finally:
            self.running -= 1
            self.ended += 1

    async def counts(self) -> dict[str, int]:
        return {"running": self.running, "made": self.made, "ended": self.ended, "pid": os.getpid()}


class ToneParams(settings.Params):
    """None of its own."""


class ToneSettings(settings.Settings):
    quality_rank: int = 0
    down: bool = False


class Pipeline(pipeline.Pipeline):
    Settings: ClassVar[type[settings.Settings]] = ToneSettings

    def __init__(
        self, name: str, settings: ToneSettings, stages: Mapping[str, DeploymentHandle[Any]]
    ) -> None:
        self.monitor = StageMonitor()
        self._settings = settings
        self._stage = stages["tones"]
        self.voices = (VoiceCard(id=f"{name}-tone", name="Tone", model=name, language="en"),)
        self.card = ModelCard(
            name=name,
            kind="toys.tones",
            sample_rate_hz=SAMPLE_RATE_HZ,
            languages=("en",),
            default_voice="tone",
            quality_rank=settings.quality_rank,
            parameters=ToneParams().schema_here(),
        )

    @classmethod
    def deployments(cls, name: str, settings: ToneSettings) -> dict[str, Application]:
        deployment = serve.deployment(
            name=name,
            max_ongoing_requests=100,
            ray_actor_options={"num_cpus": 0},
            graceful_shutdown_timeout_s=1,
            health_check_period_s=1,
        )
        return {"tones": deployment(Tones).bind()}

    @classmethod
    def check_files(cls, settings: ToneSettings) -> None:
        return None

    async def ready(self) -> bool:
        return bool(await self._stage.counts.remote())

    async def plan(self, request: SpeechRequest) -> Plan:
        return Plan(request, self.voices[0], request.speed, ignored=ToneParams.unknown(request.params))

    async def stream(self, plan: Plan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        if self._settings.down:
            raise Unavailable("the toy is switched off", retry_after_s=1)
        text = plan.request.text
        delay_s = 0.05 if "slow" in text.split() else 0.0
        tones = items(by_value(self._stage, stream=True).tones.remote(text, delay_s))
        count = 0
        try:
            async for samples in tones:
                count += 1
                yield AudioChunk(samples, 0)
        finally:
            await tones.aclose()
        yield StreamEnd(count * TONE_S)
