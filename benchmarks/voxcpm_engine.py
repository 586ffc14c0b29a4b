"""VoxCPM's engine under load on a CPU: against one stream, against a plain loop, and against the PyPI package.

    python -m benchmarks.voxcpm_engine --patches 20 --rounds 4 --package /path/to/other/venv/bin/python

Weights are random and of a middle size (`benchmarks.random_voxcpm`), the text is spoken without a recording. Within a
round everything runs once, in turn, and ratios are taken within a round, so that a machine whose speed changes changes
all of them. `--package` is the interpreter of an environment that has `voxcpm` 2.0.3; it loads the same directory and
has as many threads. It speaks one text at a time, so eight of them take it eight times as long.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks.random_voxcpm import CONFIGS, VERSIONS, write_checkpoint
from benchmarks.voxcpm_loop import PlainLoop
from benchmarks.voxcpm_worker import Package, Spoken
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.step.engine import VoxCPMEngine, load_parts
from deployments.voxcpm.step.job import VoxCPMJob
from deployments.weights.tensors import dtype_named
from serve_app.bench.machine import describe_machine, git_commit

RESULT = Path(__file__).parent / "results" / "voxcpm_engine.json"
STREAMS = 8
COMPANY = STREAMS - 1
MAX_LENGTH = 512
TEXT = "the voice engine test speaks one sentence of a usual length."
NEWCOMERS = 5  # per round, whose median counts
SETTLED_PATCHES = 3  # of each running row, before a newcomer is measured


@dataclass(frozen=True)
class Round:
    """Seconds and patches of everything that ran in one round."""

    plain: Spoken
    alone: Spoken
    together: Spoken  # all streams: `first_s` is the last one's first chunk
    newcomer_alone_s: float
    newcomer_in_company_s: float
    package: Spoken | None


@dataclass(frozen=True)
class Goal:
    name: str
    limit: float
    at_most: bool = False

    def met(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.limit:g}"


class VoxCPMBench:
    def __init__(self, directory: Path, patches: int) -> None:
        checkpoint = VoxCPMCheckpoint(directory)
        dtype = dtype_named(checkpoint.dims.dtype)
        network, wave = load_parts(checkpoint, device="cpu", dtype=dtype)
        self.engine = VoxCPMEngine(network, wave, slots=2 * STREAMS, max_length=MAX_LENGTH)
        self._plain = PlainLoop(network, wave, max_length=MAX_LENGTH, time_dtype=dtype)
        self._ids = tuple(checkpoint.tokenizer.encode(TEXT))
        self._patches = patches
        self._patch_s = checkpoint.dims.patch_s
        self._seeds = itertools.count()
        self._moments = random.Random(0)

    def plain(self) -> Spoken:
        began_s = time.perf_counter()
        arrivals_s = [time.perf_counter() - began_s for _ in self._plain.speak(self._ids, 0, self._patches)]
        return self._spoken(arrivals_s)

    async def streams(self, count: int) -> Spoken:
        """So many jobs that begin at once, as one: all their patches in the time until the last one."""
        each = await asyncio.gather(*(self._arrivals_s(self._patches) for _ in range(count)))
        first_s = max(arrivals_s[0] for arrivals_s in each)
        return self._spoken([first_s, *sorted(itertools.chain(*each))[1:]])

    async def newcomer_alone_s(self) -> float:
        return statistics.median([(await self._arrivals_s(1))[0] for _ in range(NEWCOMERS)])

    async def newcomer_in_company_s(self) -> float:
        """Of those who come at random moments, while other rows are running."""
        settled = [asyncio.Event() for _ in range(COMPANY)]
        running = [asyncio.create_task(self._speak_on(event)) for event in settled]
        try:
            await asyncio.gather(*(event.wait() for event in settled))
            firsts_s = []
            for _ in range(NEWCOMERS):
                await asyncio.sleep(self._moments.random() * self._patch_s)
                firsts_s.append((await self._arrivals_s(1))[0])
            if any(task.done() for task in running):
                raise RuntimeError("a running row ended before the newcomers were measured")
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return statistics.median(firsts_s)

    async def _speak_on(self, settled: asyncio.Event) -> None:
        made = 0
        async with aclosing(self.engine.stream(self._job(MAX_LENGTH))) as chunks:
            async for _ in chunks:
                made += 1
                if made == SETTLED_PATCHES:
                    settled.set()

    async def _arrivals_s(self, patches: int) -> list[float]:
        began_s = time.perf_counter()
        return [time.perf_counter() - began_s async for _ in self.engine.stream(self._job(patches))]

    def _job(self, patches: int) -> VoxCPMJob:
        return VoxCPMJob("bench", self._ids, len(self._ids), next(self._seeds), max_patches=patches)

    def _spoken(self, arrivals_s: list[float]) -> Spoken:
        chunks = len(arrivals_s)
        return Spoken(arrivals_s[0], max(arrivals_s), chunks, chunks * self._patch_s)


async def measure(
    bench: VoxCPMBench, package: Package | None, patches: int, rounds: int, console: Console
) -> list[Round]:
    """The first round only warms up."""
    found = []
    for turn in range(rounds + 1):
        found.append(
            Round(
                plain=bench.plain(),
                alone=await bench.streams(1),
                together=await bench.streams(STREAMS),
                newcomer_alone_s=await bench.newcomer_alone_s(),
                newcomer_in_company_s=await bench.newcomer_in_company_s(),
                package=None if package is None else package.speak(TEXT, patches),
            )
        )
        console.print(f"round {turn} of {rounds}", style="dim")
    return found[1:]


def ratios(rounds: list[Round]) -> dict[Goal, float]:
    """Medians of what was found within each round."""
    found = {
        Goal(f"throughput of {STREAMS} streams over one", 3.0): [
            each.together.speed / each.alone.speed for each in rounds
        ],
        Goal(f"first audio of a newcomer among {COMPANY} over alone", 2.0, at_most=True): [
            each.newcomer_in_company_s / each.newcomer_alone_s for each in rounds
        ],
        Goal("speed of one stream over the plain loop", 0.95): [
            each.alone.speed / each.plain.speed for each in rounds
        ],
    }
    beside = [(each, each.package) for each in rounds if each.package is not None]
    if beside:
        found[Goal("speed of one stream over the package", 1.0)] = [
            each.alone.speed / package.speed for each, package in beside
        ]
        found[Goal("first audio of one stream over the package", 1.0, at_most=True)] = [
            each.alone.first_s / package.first_s for each, package in beside
        ]
        found[Goal(f"throughput of {STREAMS} streams over the package", 2.5)] = [
            each.together.speed / package.speed for each, package in beside
        ]
    return {goal: statistics.median(values) for goal, values in found.items()}


@contextmanager
def running(bench: VoxCPMBench) -> Iterator[VoxCPMBench]:
    bench.engine.start()
    try:
        yield bench
    finally:
        bench.engine.stop()


def main(
    *,
    version: Annotated[str, typer.Option(help=f"One of {', '.join(VERSIONS)}.")] = "1.5",
    size: Annotated[str, typer.Option(help=f"One of {', '.join(CONFIGS)}.")] = "mid",
    patches: Annotated[int, typer.Option(min=2, max=100, help="Per job.")] = 20,
    rounds: Annotated[int, typer.Option(min=1)] = 4,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 2,
    package: Annotated[Path | None, typer.Option(help="Interpreter that has the PyPI package.")] = None,
    output: Annotated[Path, typer.Option()] = RESULT,
) -> None:
    """Measure, print ratios, write JSON; exit code 1 if a goal is missed."""
    for word, choices in ((version, VERSIONS), (size, CONFIGS)):
        if word not in choices:
            raise typer.BadParameter(f"{word!r} is not one of {', '.join(choices)}")
    console = Console(highlight=False)
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        directory = write_checkpoint(Path(scratch) / "model", version, size)
        other = nullcontext() if package is None else Package(package, directory, threads)
        with running(VoxCPMBench(directory, patches)) as bench, other as worker:
            found = asyncio.run(measure(bench, worker, patches, rounds, console))
            about = None if worker is None else worker.about
    compared = ratios(found)
    for goal, value in compared.items():
        console.print(f"{goal.name}: {value:.2f} ({goal})", style="green" if goal.met(value) else "red")
    content: dict[str, Any] = {
        "what": "VoxCPM's engine with random weights: ratios are medians over the rounds of one run",
        "version": version,
        "size": size,
        "patches": patches,
        "threads": threads,
        "package": about,
        "machine": asdict(describe_machine()),
        "commit": git_commit(),
        "ratios": {
            goal.name: {"value": value, "goal": str(goal), "met": goal.met(value)}
            for goal, value in compared.items()
        },
        "rounds": [asdict(each) for each in found],
    }
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if not all(goal.met(value) for goal, value in compared.items()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
