"""Random kills under load for a while: nothing is lost without a word, nothing is stuck, nothing grows.

    python -m benchmarks.soak --minutes 20 --output benchmarks/results/soak.json

Toy models, so that what is measured is the graph around the models. Memory is that of the processes that live through
all of it, after a warm-up; and of what is left when the load has ended.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.faults.__main__ import CONFIG
from benchmarks.faults.faults import Fault
from benchmarks.faults.load import ENDS, Users
from benchmarks.faults.server import Server, running_server
from serve_app.bench.machine import describe_machine, git_commit

KINDS = ("first", "first", "second", "Router", "Ingress", "haproxy")
HANG_S = 3.0
WARM_UP_S = 20.0
SAMPLE_EVERY_S = 5.0


@dataclass
class Memory:
    """Unique memory of every process by its id and kind, over time: (seconds, MB)."""

    seen: dict[tuple[str, int], list[tuple[float, float]]] = field(default_factory=dict)

    def sample(self, server: Server, now_s: float) -> None:
        for kind, processes in server.processes().items():
            for process in processes:
                try:
                    mb = process.memory_full_info().uss / 2**20
                except psutil.Error:
                    continue
                self.seen.setdefault((kind, process.pid), []).append((now_s, mb))

    def growth(self, after_s: float, until_s: float) -> dict[str, dict[str, float]]:
        """Of the processes that were there at both ends: MB at first and at last."""
        found = {}
        for (kind, pid), samples in self.seen.items():
            lived = [mb for at_s, mb in samples if after_s <= at_s <= until_s]
            whole = (
                samples[0][0] <= after_s + SAMPLE_EVERY_S and samples[-1][0] >= until_s - 2 * SAMPLE_EVERY_S
            )
            if whole and len(lived) > 1:
                found[f"{kind} {pid}"] = {"first_mb": round(lived[0], 1), "last_mb": round(lived[-1], 1)}
        return found


async def soak(server: Server, minutes: float, users: int, every_s: float, seed: int) -> dict[str, Any]:
    load, memory, chance = Users(server.url, users), Memory(), random.Random(seed)
    began_s = time.monotonic()
    running = asyncio.create_task(load.run())
    sampling = asyncio.create_task(_sample(server, memory))
    await asyncio.sleep(WARM_UP_S)
    kills = hangs = 0
    while time.monotonic() < began_s + WARM_UP_S + 60 * minutes:
        hang = chance.random() < 0.15
        fault = Fault("chance", chance.choice(KINDS[:-1] if hang else KINDS), hang_s=HANG_S if hang else 0.0)
        befallen = await fault.happen(server, chance)
        kills, hangs = kills + (0 if hang else befallen), hangs + (befallen if hang else 0)
        await asyncio.sleep(chance.uniform(0.5, 1.5) * every_s)
    ended_s = time.monotonic()
    load.stop()
    await running
    await asyncio.sleep(SAMPLE_EVERY_S)
    sampling.cancel()
    counts = load.counts()
    return {
        "minutes": minutes,
        "kills": kills,
        "hangs": hangs,
        "requests": sum(counts.values()),
        **{end: counts[end] for end in ENDS},
        "told": sorted({each.told for each in load.outcomes if each.end == "lost"})[:5],
        "longest_s": round(max(each.ended_s - each.began_s for each in load.outcomes), 1),
        "memory": memory.growth(began_s + WARM_UP_S, ended_s),
        "processes_at_the_end": {kind: len(found) for kind, found in sorted(server.processes().items())},
    }


async def _sample(server: Server, memory: Memory) -> None:
    while True:
        memory.sample(server, time.monotonic())
        await asyncio.sleep(SAMPLE_EVERY_S)


def main(
    minutes: float = 20.0,
    users: int = 6,
    every_s: Annotated[float, typer.Option(help="between two kills, on average")] = 6.0,
    seed: int = 1,
    output: Annotated[Path | None, typer.Option(help="a JSON file")] = None,
) -> None:
    with running_server(CONFIG) as server:
        result = asyncio.run(soak(server, minutes, users, every_s, seed))
    print(json.dumps(result, indent=1))
    if output is not None:
        about = {"machine": asdict(describe_machine()), "commit": git_commit(), "users": users, "seed": seed}
        output.write_text(json.dumps({**about, **result}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
