"""A pipeline of Kokoro over a stage that speaks tones."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import numpy as np

from deployments.core.errors import InvalidRequest, Unavailable
from deployments.core.metrics import Reply, StageMetrics
from deployments.core.pipeline import Plan
from deployments.core.speech import Samples, SpeechRequest
from deployments.kokoro.job import UNSPEAKABLE, KokoroJob, Spoken
from deployments.kokoro.pipeline import Pipeline
from deployments.kokoro.settings import KokoroSettings
from deployments.streaming.cost import Pace, PieceCost

RATE_HZ = 24_000
VOICES = ("af_heart", "am_adam", "bf_emma", "ff_siwis", "zf_xiaobei", "zf_xiaoni", "zm_yunxi")
METRICS = StageMetrics("here", rows=1)
LONG = "First we speak. Then, after a while, we speak again about something else entirely. " * 3
SEGMENT_S = 0.5
PACE = Pace(PieceCost(0.1, 0.1), PieceCost(0.0, 1.0))


class Call:
    def __init__(self, value: Any, delay_s: float = 0) -> None:
        self.cancelled = False
        self._value = value
        self._delay_s = delay_s

    def __await__(self) -> Generator[Any, None, Any]:
        yield from asyncio.sleep(self._delay_s).__await__()
        if isinstance(self._value, Exception):
            raise self._value
        return self._value

    def cancel(self) -> None:
        self.cancelled = True


class Stage:
    """A handle to a Kokoro stage: every segment is half a second of a tone with silence at both ends."""

    def __init__(
        self, fails_at: int | None = None, delay_s: float = 0, mute: frozenset[int] = frozenset()
    ) -> None:
        self.mute = mute  # segments in which nothing can be spoken
        self.jobs: list[KokoroJob] = []
        self.calls: list[Call] = []
        self._fails_at = fails_at
        self._delay_s = delay_s

    def options(self, **_: Any) -> Stage:
        return self

    @property
    def ready(self) -> Any:
        return _Method(lambda: Call(True))

    @property
    def pace(self) -> Any:
        return _Method(lambda: Call(PACE))

    @property
    def synthesise(self) -> Any:
        return _Method(self._synthesise)

    def _synthesise(self, job: KokoroJob) -> Call:
        failed = len(self.jobs) == self._fails_at
        self.jobs.append(job)
        reply = Reply(Spoken(tone(), 0.2), METRICS)
        if len(self.jobs) - 1 in self.mute:
            failure = InvalidRequest(f"nothing in {job.text!r} can be spoken", code=UNSPEAKABLE)
            self.calls.append(Call(failure, self._delay_s))
            return self.calls[-1]
        self.calls.append(Call(Unavailable("down") if failed else reply, self._delay_s))
        return self.calls[-1]


class _Method:
    def __init__(self, call: Any) -> None:
        self.remote = call


def tone() -> Samples:
    count = round(SEGMENT_S * RATE_HZ)
    sound = 0.5 * np.sin(np.arange(count) * 0.1)
    quiet = np.zeros(RATE_HZ // 4)
    return np.concatenate([quiet, sound, quiet]).astype(np.float32)


def pipeline(stage: Stage | None = None, **settings: Any) -> Pipeline:
    return Pipeline("kokoro", KokoroSettings(**settings), {"kokoro": stage or Stage()})  # type: ignore[dict-item]


async def plan(text: str = "Hello.", settings: dict[str, Any] | None = None, **fields: Any) -> Plan:
    return await pipeline(**settings or {}).plan(SpeechRequest("id", text, **fields))


async def spoken(stage: Stage, text: str, settings: dict[str, Any] | None = None, **fields: Any) -> list[Any]:
    speaker = pipeline(stage, **settings or {})
    return [event async for event in speaker.stream(await speaker.plan(SpeechRequest("id", text, **fields)))]
