"""Quiet, burst, quiet: listeners come and go, and somebody counts the replicas meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from benchmarks.scaling.toy import STEP_AUDIO_S

SAMPLE_S = 0.25
ANSWER_RATE_HZ, SAMPLE_BYTES = 24_000, 2  # of `pcm`
WORDS = 15


@dataclass(frozen=True, slots=True)
class Phase:
    users: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """`whole`: every sample came. `status` is None where the connection ended before there was one."""

    status: int | None
    whole: bool
    first_audio_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float  # since the load began
    replicas: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Run:
    heard: Sequence[Heard]
    samples: Sequence[Sample]
    burst_s: tuple[float, float]  # when it began and ended

    @property
    def cut(self) -> int:
        """Streams that began and did not come to their end."""
        return sum(each.status == 200 and not each.whole for each in self.heard)

    @property
    def failed(self) -> int:
        return sum(each.status != 200 for each in self.heard)

    def peak(self, deployment: str) -> int:
        return max(sample.replicas[deployment] for sample in self.samples)

    def grew_after_s(self, deployment: str) -> float | None:
        """From the beginning of the burst to the first further replica that runs; None where it never came."""
        at_s = (
            each.at_s
            for each in self.samples
            if each.replicas[deployment] > 1 and each.at_s > self.burst_s[0]
        )
        return next((found - self.burst_s[0] for found in at_s), None)

    def back_after_s(self, deployment: str) -> float | None:
        """From the end of the burst until one replica runs; None where it did not come to that."""
        at_s = (
            each.at_s
            for each in self.samples
            if each.replicas[deployment] == 1 and each.at_s > self.burst_s[1]
        )
        return next((found - self.burst_s[1] for found in at_s), None)


async def shaped_load(
    url: str, model: str, phases: Sequence[Phase], replicas: Callable[[], Mapping[str, int]]
) -> Run:
    """Listeners of `model`, each of whom asks again when the last answer has come to its end. The second phase is the
    burst."""
    heard: list[Heard] = []
    samples: list[Sample] = []
    began_s = time.monotonic()

    async def count() -> None:
        while True:
            found = await asyncio.to_thread(replicas)
            samples.append(Sample(time.monotonic() - began_s, found))
            await asyncio.sleep(SAMPLE_S)

    async def user(until_s: float) -> None:
        while time.monotonic() < until_s:
            heard.append(await _listen(client, model))

    counting = asyncio.create_task(count())
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        users: list[asyncio.Task[None]] = []
        starts_s = []
        for phase in phases:
            starts_s.append(time.monotonic() - began_s)
            until_s = time.monotonic() + phase.duration_s
            users += [asyncio.create_task(user(until_s)) for _ in range(phase.users)]
            await asyncio.sleep(phase.duration_s)
        await asyncio.gather(*users)
    counting.cancel()
    await asyncio.wait([counting])
    return Run(heard, samples, (starts_s[1], starts_s[2]))


async def _listen(client: httpx.AsyncClient, model: str) -> Heard:
    body = {"model": model, "input": "word " * WORDS, "response_format": "pcm", "fallback": False}
    expected = round(WORDS * STEP_AUDIO_S * ANSWER_RATE_HZ) * SAMPLE_BYTES
    began_s = time.monotonic()
    status, size, first_s = None, 0, 0.0
    try:
        async with client.stream("POST", "/v1/audio/speech", json=body) as answer:
            status = answer.status_code
            async for data in answer.aiter_bytes():
                first_s = first_s or time.monotonic() - began_s
                size += len(data)
    except httpx.TransportError:
        return Heard(status, False, first_s)
    return Heard(status, size == expected, first_s)
