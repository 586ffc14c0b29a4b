"""A router over pipelines that play a script, without Ray, and a record of what it counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.core.catalogue import ModelCard, VoiceCard
from deployments.core.errors import SpeechError
from deployments.core.metrics import StageMonitor
from deployments.core.pipeline import Forecast, Plan
from deployments.core.settings import Settings
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd, StreamEvent, StreamFailed
from deployments.voices.library import VoiceLibrary
from serve_app import router as router_module
from serve_app.config import Config
from serve_app.router import Router
from serve_app.telemetry import Telemetry

RATE_HZ = 16_000
PIECE = AudioChunk(np.full(1600, 0.1, np.float32), 0)
END = StreamEnd(0.1)
LONG_S = 20.0  # what should come at once never takes so long, however busy the machine is
Step = AudioChunk | StreamEnd | Exception | Callable[[], Awaitable[object]]


async def hang() -> None:
    await asyncio.Event().wait()


@dataclass
class ScriptedModel:
    """Plays `script`: events are given, exceptions raised, functions awaited. So are `planning` and `readiness`."""

    name: str
    script: list[Step] = field(default_factory=lambda: [PIECE, PIECE, END])
    planning: list[Step] = field(default_factory=list)
    readiness: list[Step] = field(default_factory=list)
    quality_rank: int = 0
    cloning: bool = False
    languages: tuple[str, ...] = ("en",)
    expected: Forecast | None = None
    clean_up_s: float = 0.0
    monitor: StageMonitor = field(default_factory=StageMonitor)
    plans: list[SpeechRequest] = field(default_factory=list)
    running: int = 0  # streams that were begun and have not cleaned up

    def __post_init__(self) -> None:
        self.voices = (VoiceCard(f"{self.name}-voice", self.name, self.name, "en"),)
        self.card = ModelCard(
            self.name,
            "scripted",
            RATE_HZ,
            self.languages,
            self.voices[0].id,
            cloning=self.cloning,
            quality_rank=self.quality_rank,
        )

    def use_library(self, library: VoiceLibrary) -> None: ...

    def forecast(self) -> Forecast | None:
        return self.expected

    async def warm_up(self) -> None: ...

    async def ready(self) -> bool:
        await _play(self.readiness)
        return True

    async def plan(self, request: SpeechRequest) -> Plan:
        self.plans.append(request)
        await _play(self.planning)
        return Plan(request, self.voices[0], 1.0)

    async def stream(self, plan: Plan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        self.running += 1
        try:
            for step in self.script:
                if isinstance(step, AudioChunk | StreamEnd):
                    yield step
                else:
                    await _play([step])
        finally:
            if self.clean_up_s:
                await asyncio.sleep(self.clean_up_s)
            self.running -= 1


async def _play(steps: list[Step]) -> None:
    for step in steps:
        if isinstance(step, Exception):
            raise copy(step)
        if callable(step):
            await step()


class CountingTelemetry(Telemetry):
    """Keeps what is counted: (model, code) of requests that ended, reasons of those that were aborted."""

    def __init__(self, slow_s: float | None = None) -> None:
        super().__init__(slow_s)
        self.codes: list[tuple[str, int]] = []
        self.reasons: list[str] = []
        self.blamed: list[tuple[str, str]] = []  # (model, stage) of slow requests
        self.missed_s: list[float] = []  # by streams that ended

    def finished(self, model: str, audio_s: float, seconds: float) -> None:
        self.codes.append((model, 200))
        super().finished(model, audio_s, seconds)

    def failed(self, model: str, code: int) -> None:
        self.codes.append((model, code))
        super().failed(model, code)

    def slow(self, model: str, stage: str) -> None:
        self.blamed.append((model, stage))
        super().slow(model, stage)

    def heard(self, model: str, missed_s: float) -> None:
        self.missed_s.append(missed_s)
        super().heard(model, missed_s)

    def aborted(self, reason: str) -> None:
        self.reasons.append(reason)
        super().aborted(reason)


@dataclass(frozen=True)
class Routed:
    """A router, its models and what it counts."""

    router: Router
    models: dict[str, ScriptedModel]
    counted: CountingTelemetry

    async def events(self, text: str = "Hello.", **fields: Any) -> list[StreamEvent]:
        request = SpeechRequest("the-id", text, **fields)
        return [event async for event in self.router.stream(request)]

    def idle(self) -> bool:
        """Whether no request holds or awaits anything."""
        limits = self.router._opener.limits.values()
        return not any(limit.held for limit in limits) and not any(
            model.running for model in self.models.values()
        )


async def routed(
    monkeypatch: pytest.MonkeyPatch,
    store: Path,
    *models: ScriptedModel,
    default_model: str | None = None,
    routing: dict[str, Any] | None = None,
    **limits: Any,
) -> Routed:
    by_name = {model.name: model for model in models}

    def parsed(name: str, entry: Any) -> tuple[Any, Settings]:
        return (lambda name, settings, stages: by_name[name]), Settings()

    monkeypatch.setattr(router_module, "parse_model", parsed)
    monkeypatch.setattr(router_module, "Telemetry", CountingTelemetry)
    config = Config(
        models={name: {"kind": "scripted"} for name in by_name},
        default_model=default_model,
        limits=limits,
        routing=routing or {},
        voices={"url": str(store)},
    )
    router = Router.__new__(Router)
    await router.__init__(config, {name: {} for name in by_name})  # type: ignore[misc]
    counted = router._telemetry
    assert isinstance(counted, CountingTelemetry)
    return Routed(router, by_name, counted)


Route = Callable[..., Awaitable[Routed]]


def failure_of(events: list[StreamEvent]) -> SpeechError:
    assert isinstance(events[-1], StreamFailed), events
    return events[-1].error


async def until(met: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not met():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(wait(), LONG_S)


async def within_reason(work: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(work, LONG_S)
