"""One router over several models in virtual time, against each model alone under the same load.

    python -m benchmarks.routing_simulator --rate 1.2 --minutes 10

The policy, the admission of streams and their forecasts are the product's own; a model only takes time. Listeners come
at random times with short, usual and long texts and leave the speaker open.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.virtual_time import in_virtual_time
from deployments.core.catalogue import ModelCard
from deployments.core.errors import Overloaded
from deployments.core.speech import SpeechRequest
from deployments.streaming.admission import SharedStream, StreamAdmission
from deployments.streaming.crowd_cost import CrowdCost
from deployments.streaming.playback import Playback
from serve_app.bench.arrivals import OpenLoop
from serve_app.routing.decision import Load
from serve_app.routing.needs import Needs
from serve_app.routing.policy import Policy, decide

CHUNK_S = 0.5
STEP_S = 0.02
LENGTHS_S = (1.5, 1.5, 3.0, 3.0, 6.0, 12.0)  # of audio, equally likely
CHARS_PER_S = 14
LONGEST_WAIT_S = 20.0
WARM_UP_USERS = (1, 1, 1, 2, 2, 3)


@dataclass(frozen=True)
class ModelCosts:
    """`first_s`: work before the first chunk, beside that for the chunk; `unit_s`: for a second of audio of a stream
    that is alone; each further stream adds `crowding` of that."""

    name: str
    quality_rank: int
    first_s: float
    unit_s: float
    crowding: float


QUICK = ModelCosts("quick", 10, first_s=0.05, unit_s=0.20, crowding=0.8)
GRAND = ModelCosts("grand", 30, first_s=0.60, unit_s=0.45, crowding=0.25)
FLEET = (QUICK, GRAND)


@dataclass(frozen=True)
class Outcome:
    """`first_s`: from the request to the first audio, infinite where every model refused."""

    model: str
    reason: str
    first_s: float


@dataclass
class SimulatedModel:
    costs: ModelCosts
    admission: StreamAdmission = field(init=False)
    at_work: int = 0

    def __post_init__(self) -> None:
        work = CrowdCost(self.costs.unit_s)
        self.admission = StreamAdmission(self.costs.name, work, longest_wait_s=LONGEST_WAIT_S)

    @property
    def card(self) -> ModelCard:
        name = self.costs.name
        return ModelCard(name, "simulated", 24_000, ("en",), "voice", quality_rank=self.costs.quality_rank)

    @property
    def load(self) -> Load:
        forecast = self.admission.forecast()
        return Load(forecast.first_audio_s, forecast.audio_s_per_s, full=forecast.full)

    async def speak(self, audio_s: float, heard: asyncio.Future[float]) -> None:
        """`heard` gets the time of the first audio. Raises Overloaded at once where the wait would be too long."""
        stream = SharedStream(Playback(), audio_s)
        async with self.admission.turn(stream):
            self.at_work += 1
            try:
                await self._work(self.costs.first_s)
                for number in range(round(audio_s / CHUNK_S)):
                    await self._work(CHUNK_S * self.costs.unit_s)
                    stream.playback.sent(0, CHUNK_S)
                    if number == 0:
                        self.admission.first_audio(stream, CHUNK_S)
                        heard.set_result(time.monotonic())
            finally:
                self.at_work -= 1

    async def _work(self, alone_s: float) -> None:
        left_s = alone_s
        while left_s > 1e-9:  # in small steps, because others come and go
            step_s = min(left_s, STEP_S)
            await asyncio.sleep(step_s * (1 + self.costs.crowding * (self.at_work - 1)))
            left_s -= step_s


@dataclass(frozen=True)
class Fleet:
    models: dict[str, SimulatedModel]
    policy: Policy

    @staticmethod
    def of(costs: Sequence[ModelCosts]) -> Fleet:
        models = {each.name: SimulatedModel(each) for each in costs}
        return Fleet(models, Policy(tuple(model.card for model in models.values()), {}))

    async def warm_up(self) -> None:
        for model in self.models.values():
            for users in WARM_UP_USERS:
                futures = [asyncio.get_running_loop().create_future() for _ in range(users)]
                await asyncio.gather(*(model.speak(4.0, future) for future in futures))

    async def serve(self, request: SpeechRequest, audio_s: float) -> Outcome:
        came_s = time.monotonic()
        loads = {name: model.load for name, model in self.models.items()}
        for choice in decide(request, Needs(), self.policy, loads).choices:
            heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            try:
                await self.models[choice.model].speak(audio_s, heard)
            except Overloaded:
                continue
            return Outcome(choice.model, choice.reason, heard.result() - came_s)
        return Outcome("none", "refused", math.inf)


def simulate(
    costs: Sequence[ModelCosts], load: OpenLoop, *, model: str = "fast", budget_ms: float | None = None
) -> list[Outcome]:
    """What every listener gets who asks for `model`, a policy, with `budget_ms` to the first audio."""

    async def run() -> list[Outcome]:
        fleet = Fleet.of(costs)
        await fleet.warm_up()

        async def listen(number: int, late_s: float) -> Outcome:
            audio_s = random.Random(f"{load.seed} {number}").choice(LENGTHS_S)
            text = "x" * round(audio_s * CHARS_PER_S)
            request = SpeechRequest(str(number), text, model=model, latency_budget_ms=budget_ms)
            return await fleet.serve(request, audio_s)

        return await load.run(listen)

    return in_virtual_time(run)


def percentile(outcomes: Sequence[Outcome], share: float) -> float:
    """Of the times to first audio, refusals included."""
    ordered = sorted(outcome.first_s for outcome in outcomes)
    return ordered[min(len(ordered) - 1, math.floor(share * len(ordered)))]


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    refused = sum(outcome.model == "none" for outcome in outcomes)
    best = sum(outcome.model == GRAND.name for outcome in outcomes) / len(outcomes)
    return (
        f"{name:28s} {percentile(outcomes, 0.5):8.2f} {percentile(outcomes, 0.95):8.2f} "
        f"{refused:8d} of {len(outcomes)} {best:10.0%}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=1.2, help="listeners per second")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    load = OpenLoop(options.rate, 60 * options.minutes, options.seed)
    print(f"{'':28s} first p50  p95 (s)  refused      by the best model")
    for costs in FLEET:
        print(_row(f"{costs.name} alone", simulate([costs], load)))
    print(_row("router, fast", simulate(FLEET, load)))
    print(_row("router, quality", simulate(FLEET, load, model="quality")))
    for budget_ms in (500, 1000, 2000, 4000):
        print(
            _row(f"router, budget {budget_ms} ms", simulate(FLEET, load, model="auto", budget_ms=budget_ms))
        )


if __name__ == "__main__":
    main()
