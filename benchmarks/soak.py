"""Random kills under load for a while: nothing is lost without a word, nothing is stuck, nothing grows.

    python -m benchmarks.soak --minutes 20 --output benchmarks/results/soak.json

Toy models, so that what is measured is the graph around the models. Memory is that of the processes that live through
all of it, after a warm-up; of those that are killed, it is that of their kind.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import psutil
import typer

from benchmarks.faults.__main__ import CONFIG
from benchmarks.faults.faults import Fault
from benchmarks.faults.load import ENDS, Outcome, Users
from benchmarks.faults.server import Server, running_server
from serve_app.bench.machine import describe_machine, git_commit

KINDS = ("first", "first", "second", "Router", "Ingress", "haproxy")
HANG_S = 3.0
HANGS_PER_KILL = 0.15
WARM_UP_S = 60.0
WINDOW_S = 30.0  # at either end, of whose samples the median counts
SAMPLE_EVERY_S = 5.0
PROXY_GONE_S = 1.0  # after its death, within which clients notice that their connection broke
FLAT_PERCENT = 3.0


@dataclass(frozen=True, slots=True)
class Kill:
    target: str
    at_s: float


@dataclass
class Memory:
    """Proportional memory (PSS) of every process by its kind and id, over time: (seconds, MB)."""

    seen: dict[tuple[str, int], list[tuple[float, float]]] = field(default_factory=dict)

    def sample(self, server: Server, now_s: float) -> None:
        for kind, processes in server.processes().items():
            for process in processes:
                try:
                    mb = process.memory_full_info().pss / 2**20
                except psutil.Error:
                    continue
                self.seen.setdefault((kind, process.pid), []).append((now_s, mb))

    def growth(self, began_s: float, ended_s: float) -> dict[str, dict[str, float]]:
        """Between both ends, of each process that was there at both, and of each kind of which none was."""
        windows = (began_s, began_s + WINDOW_S), (ended_s - WINDOW_S, ended_s)
        found, lived = {}, set()
        for (kind, pid), samples in self.seen.items():
            first, last = (_within(samples, *window) for window in windows)
            if first and last:
                lived.add(kind)
                found[f"{kind} {pid}"] = _change(first, last)
        for replaced in sorted({kind for kind, _ in self.seen} - lived):
            samples = [each for (kind, _), own in self.seen.items() if kind == replaced for each in own]
            first, last = (_within(samples, *window) for window in windows)
            if first and last:
                found[f"{replaced} (replaced)"] = _change(first, last)
        return found


def _within(samples: Iterable[tuple[float, float]], began_s: float, ended_s: float) -> list[float]:
    return [mb for at_s, mb in samples if began_s <= at_s <= ended_s]


def _change(first: Sequence[float], last: Sequence[float]) -> dict[str, float]:
    before, after = median(first), median(last)
    percent = 100 * (after / before - 1) if before else 0.0
    return {"first_mb": round(before, 1), "last_mb": round(after, 1), "percent": round(percent, 1)}


async def killed(server: Server, kills: int, lasts_s: float, chance: random.Random) -> tuple[list[Kill], int]:
    """Kill so many processes in that time, and stop some for a while besides; what was killed, and how many hung."""
    began_s = time.monotonic()
    done: list[Kill] = []
    hanging: list[asyncio.Task[int]] = []
    while len(done) < kills and (now_s := time.monotonic()) < began_s + lasts_s:
        # From the plan and not from the last kill, so that a slow one is caught up with.
        due_s = began_s + (len(done) + chance.uniform(0.0, 0.8)) * lasts_s / kills
        await asyncio.sleep(max(0.0, due_s - now_s))
        if chance.random() < HANGS_PER_KILL:
            fault = Fault("chance", chance.choice(KINDS[:-1]), hang_s=HANG_S)
            hanging.append(asyncio.create_task(fault.happen(server, chance)))
        # One that is not there is starting again: another falls in its place.
        for target in chance.sample(KINDS, len(KINDS)):
            if await Fault("chance", target).happen(server, chance):
                done.append(Kill(target, time.monotonic()))
                break
        else:
            await asyncio.sleep(0.2)
    hung = sum(await asyncio.gather(*hanging))
    await asyncio.sleep(max(0.0, began_s + lasts_s - time.monotonic()))
    return done, hung


def broken_with_the_proxy(outcome: Outcome, kills: Iterable[Kill]) -> bool:
    """Whether a request without an answer was on a connection that died with the front proxy. Nothing behind the
    proxy can answer on that; the client sees a broken connection, which SDKs try again."""
    return outcome.end == "lost" and any(
        kill.target == "haproxy"
        and outcome.began_s <= kill.at_s <= outcome.ended_s <= kill.at_s + PROXY_GONE_S
        for kill in kills
    )


async def soak(server: Server, minutes: float, users: int, kills: int, seed: int) -> dict[str, Any]:
    load, memory, chance = Users(server.url, users), Memory(), random.Random(seed)
    running = asyncio.create_task(load.run())
    sampling = asyncio.create_task(_sample(server, memory))
    await asyncio.sleep(WARM_UP_S)
    began_s = time.monotonic()
    done, hangs = await killed(server, kills, 60 * minutes, chance)
    ended_s = time.monotonic()
    load.stop()
    await running
    await asyncio.sleep(SAMPLE_EVERY_S)
    sampling.cancel()
    counts = load.counts()
    broken = [each for each in load.outcomes if broken_with_the_proxy(each, done)]
    lost = [each for each in load.outcomes if each.end == "lost" and each not in broken]
    changes = memory.growth(began_s, ended_s)
    return {
        "minutes": minutes,
        "kills": len(done),
        "hangs": hangs,
        "requests": sum(counts.values()),
        **{end: counts[end] for end in ENDS},
        "lost": len(lost),
        "broken": len(broken),
        "told": sorted({each.told for each in lost})[:5],
        "longest_s": round(max(each.ended_s - each.began_s for each in load.outcomes), 1),
        "memory": changes,
        "grown": sorted(name for name, each in changes.items() if each["percent"] > FLAT_PERCENT),
        "processes_at_the_end": {kind: len(found) for kind, found in sorted(server.processes().items())},
    }


async def _sample(server: Server, memory: Memory) -> None:
    while True:
        # In a thread: the kernel adds up the pages of each process, and the users' clocks must not wait for it.
        await asyncio.to_thread(memory.sample, server, time.monotonic())
        await asyncio.sleep(SAMPLE_EVERY_S)


def main(
    minutes: float = 20.0,
    users: int = 6,
    kills: Annotated[int, typer.Option(help="in all; by default ten a minute")] = 0,
    seed: int = 1,
    output: Annotated[Path | None, typer.Option(help="a JSON file")] = None,
) -> None:
    with running_server(CONFIG) as server:
        result = asyncio.run(soak(server, minutes, users, kills or round(10 * minutes), seed))
    print(json.dumps(result, indent=1))
    if output is not None:
        about = {"machine": asdict(describe_machine()), "commit": git_commit(), "users": users, "seed": seed}
        output.write_text(json.dumps({**about, **result}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
