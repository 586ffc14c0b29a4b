"""What listeners hear of a running server: first audio and gaps, alone, in company, and at shares of the capacity.

    python -m benchmarks.listening                                    (starts a server of its own, both models)
    python -m benchmarks.listening http://localhost:8000 --models indextts2 --scenes alone,crowd
    python -m benchmarks.listening http://localhost:8000 --models indextts2 --scenes poisson --rates 0.6

A listener begins to play 0.1 s after the first byte. First audio is also shown as a ratio to that of one sentence
without company. Two servers are compared by running this on each, one after the other, on the same machine with nothing
else running, and at the same load by `--rates`; `--output` keeps the figures as JSON, a file for each model.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.kokoro_cpu import Server
from serve_app.bench.arrivals import ClosedLoop, Load, OpenLoop
from serve_app.bench.client import SpeechClient, Target
from serve_app.bench.machine import describe_machine, git_commit
from serve_app.bench.metrics import CONTINUITY_BUFFER_S, Trace, audio_s, summarise, underrun_s
from serve_app.bench.texts import ENGLISH

SIX = (
    "The harbour wakes before the sun does, and the first boats leave in the dark.",
    "Fishermen load their nets while gulls circle above the masts.",
    "By eight the market is full of voices and the smell of bread.",
    "Children run between the stalls while their parents argue about the price of tomatoes.",
    "Later, when the heat comes, everybody goes home.",
    "Then the square falls silent until the evening.",
)
LONG = " ".join(SIX)
COMMAS = (
    "Well, that was the last train to the coast.",
    "In the morning, we walk down to the river.",
    "If it rains, the match will be played tomorrow.",
    "Nobody answered, so we opened the door ourselves.",
)
SHORT = (
    "Your table is ready.",
    "Please hold the line.",
    "The kettle has just boiled.",
    "Turn left at the old mill.",
)
MIXED = tuple(random.Random(1).sample(ENGLISH, len(ENGLISH)))  # they stand by length
FIRST_SENTENCE = "alone: first sentence"
LOADS = (0.5, 0.8, 1.5)  # of the capacity


@dataclass(frozen=True)
class Heard:
    """One scene. Seconds; `c100`: part of the answers that play through; refused ones count nowhere else."""

    scene: str
    requests: int
    refused: int
    failed: int
    first_audio_p50_s: float | None
    first_audio_p95_s: float | None
    first_audio_max_s: float | None
    c100: float | None
    longest_gap_s: float
    audio_s_per_s: float

    @classmethod
    def of(cls, scene: str, traces: Sequence[Trace]) -> Heard:
        found = summarise(traces)
        first = found.first_sample_s
        gaps = [underrun_s(trace, CONTINUITY_BUFFER_S) for trace in traces if trace.outcome == "ok"]
        return cls(
            scene,
            found.requests,
            found.rejected,
            found.failed,
            first and round(first.p50, 3),
            first and round(first.p95, 3),
            first and round(first.max, 3),
            found.c100,
            round(max(gaps, default=0.0), 3),
            round(found.audio_s_per_s, 3),
        )


class Listening:
    def __init__(self, client: SpeechClient, poisson_s: float, rates: Sequence[float] = ()) -> None:
        """`rates`: requests per second for random arrivals; empty: they are shares of the measured capacity."""
        self._client = client
        self._poisson_s = poisson_s
        self._rates = rates

    async def say(self, text: str) -> Trace:
        return (await self._client.speak(text)).trace(0)

    async def load(self, scene: str, load: Load, texts: Sequence[str]) -> Heard:
        async def send(number: int, late_s: float) -> Trace:
            return (await self._client.speak(texts[number % len(texts)])).trace(number, late_s=late_s)

        traces = await load.run(send)
        return Heard.of(scene, traces)

    async def alone(self) -> list[Heard]:
        """One listener and nobody else."""
        scenes = {
            FIRST_SENTENCE: SIX[:1] * 3,
            "alone: six sentences": (LONG,) * 3,
            "alone: short, with a comma": COMMAS * 2,
            "alone: 2000 characters": (" ".join([LONG] * 5)[:2000],),
        }
        return [await self.load(name, ClosedLoop(1, len(texts)), texts) for name, texts in scenes.items()]

    async def company(self) -> list[Heard]:
        """A long text beside four short ones, which come one second later each."""

        async def late(index: int, text: str) -> Trace:
            await asyncio.sleep(index)
            return await self.say(text)

        long, *short = await asyncio.gather(*(late(n, text) for n, text in enumerate((LONG, *SHORT))))
        return [Heard.of("long beside short", [long]), Heard.of("short beside long", short)]

    async def crowd(self) -> list[Heard]:
        return [await self.load("eight at once", ClosedLoop(8, 16), MIXED)]

    async def poisson(self) -> list[Heard]:
        """Random arrivals: as often as told, else at shares of what four users at a time get."""
        if self._rates:
            return [await self._random_arrivals(f"{rate:.2f}/s", rate) for rate in self._rates]
        busy = await self.load("four at a time", ClosedLoop(4, 24), MIXED)
        usual_s = sum([audio_s(await self.say(text)) for text in ENGLISH[::8]]) / len(ENGLISH[::8])
        found = [busy]
        for share in LOADS:
            rate = share * busy.audio_s_per_s / usual_s
            found.append(await self._random_arrivals(f"load {share:.0%} ({rate:.2f}/s)", rate))
        return found

    async def _random_arrivals(self, scene: str, rate: float) -> Heard:
        return await self.load(scene, OpenLoop(rate, self._poisson_s, seed=1), MIXED)


SCENES: dict[str, Callable[[Listening], Awaitable[list[Heard]]]] = {
    "alone": Listening.alone,
    "company": Listening.company,
    "crowd": Listening.crowd,
    "poisson": Listening.poisson,
}


async def listen(
    target: Target, scenes: Sequence[str], poisson_s: float, rates: Sequence[float]
) -> list[Heard]:
    async with SpeechClient(target) as client:
        listening = Listening(client, poisson_s, rates)
        for text in SHORT[:2]:
            await listening.say(text)
        return [heard for scene in scenes for heard in await SCENES[scene](listening)]


def show(model: str, heard: Sequence[Heard]) -> None:
    alone_s = next((each.first_audio_p50_s for each in heard if each.scene == FIRST_SENTENCE), None)
    heads = (
        "scene",
        "requests",
        "refused",
        "first audio p50",
        "p95",
        "× alone",
        "C100",
        "longest gap",
        "audio/s",
    )
    table = Table(*heads, title=model)
    for each in heard:
        p50, p95, c100 = (
            "" if value is None else f"{value:{form}}"
            for value, form in (
                (each.first_audio_p50_s, ".2f"),
                (each.first_audio_p95_s, ".2f"),
                (each.c100, ".0%"),
            )
        )
        refused = str(each.refused) + (f" ({each.failed} failed)" if each.failed else "")
        table.add_row(
            each.scene,
            str(each.requests),
            refused,
            p50,
            p95,
            f"{each.first_audio_p50_s / alone_s:.2f}" if alone_s and each.first_audio_p50_s else "",
            c100,
            f"{each.longest_gap_s:.2f}",
            f"{each.audio_s_per_s:.2f}",
        )
    Console(highlight=False).print(table)


def main(
    url: Annotated[
        str | None, typer.Argument(help="of a running server; none: one of its own is started")
    ] = None,
    models: Annotated[str, typer.Option(help="separated by commas")] = "kokoro,indextts2",
    voice: Annotated[str, typer.Option()] = "alloy",
    scenes: Annotated[str, typer.Option(help="of " + ", ".join(SCENES))] = ",".join(SCENES),
    poisson_s: Annotated[float, typer.Option(min=1, help="length of a run at one load")] = 180.0,
    rates: Annotated[
        str, typer.Option(help="requests per second of random arrivals; none: shares of the capacity")
    ] = "",
    output: Annotated[Path | None, typer.Option(help="folder for JSON files")] = None,
    port: Annotated[int, typer.Option(help="of a server of its own")] = 8798,
) -> None:
    """Listen, and print what was heard."""
    asked = [float(rate) for rate in rates.split(",") if rate]
    with running_server(url, port) as base_url:
        for model in models.split(","):
            target = Target(
                base_url=base_url, model=model, voice=voice, timeout_s=300, extra={"fallback": False}
            )
            heard = asyncio.run(listen(target, scenes.split(","), poisson_s, asked))
            show(model, heard)
            if output is not None:
                write(output / f"listening-{model}.json", model, heard)


@contextmanager
def running_server(url: str | None, port: int) -> Iterator[str]:
    if url is not None:
        yield url
        return
    server = Server(port)
    try:
        server.wait()
        yield server.url
    finally:
        server.stop()


def write(path: Path, model: str, heard: Sequence[Heard]) -> None:
    about = {"machine": asdict(describe_machine()), "commit": git_commit(), "model": model}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, "heard": [asdict(each) for each in heard]}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
