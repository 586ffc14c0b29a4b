"""Listeners of a model of one stage in virtual time: the real pipeline of Kokoro over a stage that only takes time.

    python -m benchmarks.piece_simulator --base 0.45 --unit 0.62 --beside 1.5 --loads 0.5 0.8 1.5

First a closed loop finds what the stage can make; then Poisson arrivals at shares of that. An hour of listening takes
seconds, and nothing depends on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.virtual_time import in_virtual_time
from deployments.core.errors import SpeechError
from deployments.core.metrics import Reply, StageMetrics
from deployments.core.speech import AudioChunk, SpeechRequest
from deployments.kokoro.job import DEFAULT_CHARS_PER_S, SAMPLE_RATE_HZ, KokoroJob, Spoken
from deployments.kokoro.pipeline import Pipeline
from deployments.kokoro.settings import KokoroSettings
from deployments.streaming.cost import Pace, PieceCost
from deployments.text.scripts import spoken_width
from serve_app.bench.arrivals import ClosedLoop, Load, OpenLoop
from serve_app.bench.metrics import Arrival, Summary, Trace, summarise

SENTENCES = (
    "The ferry leaves the harbour at seven every morning.",
    "She bought fresh bread, a jar of honey, and three lemons, because guests were coming in the evening.",
    "Nobody knew why.",
    "He wrote the letter twice, but never sent it.",
    "After dinner we walked along the river until it was dark and the lamps on the far bank were lit one by one.",
    "Please close the window before the rain comes in.",
)
LENGTHS = {"short": (1,), "mixed": (1, 1, 2, 3, 6)}  # sentences of a request, equally likely
BUSY_USERS = 2


@dataclass(frozen=True)
class StageCosts:
    """Of one replica on two cores: seconds for any piece, and for a second of speech in it."""

    base_s: float = 0.45
    unit_s: float = 0.62
    beside: float = 1.55  # so many times longer takes a piece beside another one
    noise: float = 0.08  # of lengths and times

    @property
    def pace(self) -> Pace:
        pairs = PieceCost(self.base_s * self.beside, self.unit_s * self.beside, self.noise)
        work = PieceCost(self.base_s, self.unit_s, self.noise)
        return Pace(work, PieceCost(0.0, 1.0, 0.1), pairs if self.beside < 1.84 else None)


class SimulatedStage:
    """Looks like a handle. Two lanes of one core each; a piece that is to be alone takes both."""

    def __init__(self, costs: StageCosts) -> None:
        self._costs = costs
        self._lanes = [asyncio.Lock(), asyncio.Lock()]
        self._draws = random.Random(7)

    def options(self, **_: Any) -> SimulatedStage:
        return self

    @property
    def pace(self) -> Any:
        return _Method(lambda: asyncio.ensure_future(self._pace()))

    @property
    def synthesise(self) -> Any:
        return _Method(lambda job: asyncio.ensure_future(self._speak(job)))

    async def _pace(self) -> Pace:
        return self._costs.pace

    async def _speak(self, job: KokoroJob) -> Reply[Spoken]:
        def noisy(value: float) -> float:
            return value * max(0.7, self._draws.gauss(1, self._costs.noise))

        audio_s = noisy(spoken_width(job.text) / DEFAULT_CHARS_PER_S)
        work_s = noisy(self._costs.base_s + self._costs.unit_s * audio_s)
        if job.alone:
            async with self._lanes[0], self._lanes[1]:
                await asyncio.sleep(work_s)
        else:
            work_s *= self._costs.beside
            lane = self._lanes[self._lanes[0].locked()]
            async with lane:
                await asyncio.sleep(work_s)
        samples = np.full(round(audio_s * SAMPLE_RATE_HZ), 0.1, np.float32)
        return Reply(Spoken(samples, work_s), StageMetrics("simulated", rows=1))


@dataclass(frozen=True)
class _Method:
    remote: Callable[..., Any]


class Listeners:
    def __init__(self, pipeline: Pipeline, texts: Callable[[int], str]) -> None:
        self._pipeline = pipeline
        self._texts = texts

    async def listen(self, number: int, late_s: float) -> Trace:
        text = self._texts(number)
        began_s = time.monotonic()
        arrivals: list[Arrival] = []
        status, error, retry_after = 200, None, None
        try:
            plan = await self._pipeline.plan(SpeechRequest(str(number), text))
            async for event in self._pipeline.stream(plan):
                if isinstance(event, AudioChunk):
                    audio_s = len(event.samples) / SAMPLE_RATE_HZ
                    arrivals.append(Arrival(time.monotonic() - began_s, event.samples.nbytes, audio_s))
        except SpeechError as failure:
            status, error = failure.status, failure.code
            retry_after = None if failure.retry_after_s is None else str(failure.retry_after_s)
        total_s = time.monotonic() - began_s
        return Trace(
            number, len(text), began_s, late_s, total_s, status, error, error, retry_after, tuple(arrivals)
        )


def random_text(number: int, lengths: str = "short") -> str:
    draws = random.Random(number)
    return " ".join(draws.choice(SENTENCES) for _ in range(draws.choice(LENGTHS[lengths])))


def simulate(costs: StageCosts, load: Load, texts: Callable[[int], str] = random_text) -> Summary:
    return summarise(traces_of(costs, load, texts))


def traces_of(costs: StageCosts, load: Load, texts: Callable[[int], str] = random_text) -> list[Trace]:
    async def run() -> list[Trace]:
        stage: Any = SimulatedStage(costs)
        pipeline = Pipeline("simulated", KokoroSettings(), {"kokoro": stage})
        return await load.run(Listeners(pipeline, texts).listen)

    return in_virtual_time(run)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=float, default=StageCosts.base_s)
    parser.add_argument("--unit", type=float, default=StageCosts.unit_s)
    parser.add_argument("--beside", type=float, default=StageCosts.beside)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--loads", type=float, nargs="*", default=[0.3, 0.5, 0.8, 1.0, 1.5])
    parser.add_argument("--texts", choices=tuple(LENGTHS), default="short")
    options = parser.parse_args(arguments)
    texts = partial(random_text, lengths=options.texts)
    costs = StageCosts(options.base, options.unit, options.beside)
    six = traces_of(costs, ClosedLoop(1, 1), lambda _: " ".join(SENTENCES))[0]
    print("one listener, six sentences:", [(round(a.at_s, 1), round(a.audio_s, 1)) for a in six.arrivals])
    capacity = simulate(costs, ClosedLoop(BUSY_USERS, options.requests), texts).audio_s_per_s
    usual_s = sum(len(texts(number)) for number in range(1000)) / 1000 / DEFAULT_CHARS_PER_S
    print(f"capacity: {capacity:.2f} s of audio per s; a request has {usual_s:.1f} s")
    print("load  first audio p50    p95    C100  refused  audio/s")
    for share in options.loads:
        rate = share * capacity / usual_s
        found = simulate(costs, OpenLoop(rate, options.requests / rate, seed=1), texts)
        first = found.first_sample_s
        if first is not None:
            print(
                f"{share:4.2f}  {first.p50:15.3f} {first.p95:6.3f}  {found.c100:6.1%}  {found.rejected:7d}  "
                f"{found.audio_s_per_s:.2f}"
            )


if __name__ == "__main__":
    main()
