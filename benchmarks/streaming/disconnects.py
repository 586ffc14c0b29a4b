"""Listeners who leave at random moments: afterwards nothing may be left of them in any stage."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import Any

import httpx
import psutil
import ray

from benchmarks.streaming.graph import MODEL, VOICE, Graph, serving
from benchmarks.streaming.mixed import Ask, asks
from benchmarks.streaming.probes import Probes
from benchmarks.streaming.verdict import Verdict

AT_ONCE = 8
ROUNDS = 6
SETTLE_S = 10.0
LOOK_EVERY_S = 0.02
LONGEST_STAY_S = 0.8  # a request takes about as long here
MOST_GROWTH_MB = 8.0  # of any replica in the last round
REPLICA_ACTOR = "SERVE_REPLICA::"
REPLICA_PROCESS = "ServeReplica"


async def leave(client: httpx.AsyncClient, graph: Graph, ask: Ask, stay_s: float) -> None:
    """Ask, listen for a while, and hang up, possibly before the first byte."""
    body = {"model": MODEL, "voice": VOICE, **ask.body}

    async def listen() -> None:
        async with client.stream("POST", f"{graph.url}/v1/audio/speech", json=body) as answer:
            async for _ in answer.aiter_raw():
                pass

    try:
        await asyncio.wait_for(listen(), stay_s)
    except (TimeoutError, asyncio.TimeoutError):
        return


async def leave_many(graph: Graph, count: int, seed: int) -> None:
    draws = random.Random(seed)
    jobs = [(ask, draws.uniform(0, LONGEST_STAY_S)) for ask in asks(count, seeded=False)]
    turns = asyncio.Semaphore(AT_ONCE)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:

        async def one(ask: Ask, stay_s: float) -> None:
            async with turns:
                await leave(client, graph, ask, stay_s)

        await asyncio.gather(*(one(*job) for job in jobs))


async def left_over(probes: Probes) -> dict[str, int]:
    """Rows that are worked on or wait in any stage, and calls that any replica still works on."""
    rows = {
        f"{stage}_rows": metrics.held_rows + metrics.waiting_rows
        for stage, metrics in (await probes.metrics()).items()
    }
    calls = await asyncio.gather(*(calls_in(name) for name in replicas()))
    return {**rows, "calls": sum(calls)}


def replicas() -> list[str]:
    actors = ray.util.list_named_actors(all_namespaces=True)
    return [actor["name"] for actor in actors if actor["name"].startswith(REPLICA_ACTOR)]


async def calls_in(replica: str) -> int:
    """As Serve counts them for its autoscaler."""
    calls: int = await ray.get_actor(replica, namespace="serve").get_num_ongoing_requests.remote()
    return calls


async def settle(probes: Probes) -> tuple[dict[str, int], float]:
    """What is left, and after how long nothing was (or SETTLE_S)."""
    began = time.monotonic()
    while True:
        left = await left_over(probes)
        waited_s = time.monotonic() - began
        if not any(left.values()) or waited_s > SETTLE_S:
            return left, waited_s
        await asyncio.sleep(LOOK_EVERY_S)


def memory_mb() -> dict[str, float]:
    """Private memory of every replica of this Ray, by deployment and process id."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            title = " ".join(process.cmdline())
            if REPLICA_PROCESS in title:
                deployment = title.split(":")[-1].split(".")[0].strip()
                found[f"{deployment} {process.pid}"] = process.memory_full_info().uss / 1e6
    return found


async def measure(graph: Graph, count: int) -> dict[str, Any]:
    """Rounds of `count`; all but the last one only touch what is allocated once, such as the slots of the caches."""
    memory, probes = [], Probes(graph)
    for turn in range(ROUNDS):
        await leave_many(graph, count, seed=turn)
        left, waited_s = await settle(probes)
        memory.append(memory_mb())
    gpt = (await probes.metrics())["gpt"]
    left["gpt_slots"] = await probes.lost_slots()
    return {
        "disconnects": ROUNDS * count,
        "left": left,
        "settled_s": waited_s,
        "gpt_step_s": gpt.step_s,
        "gpt_cancelled": gpt.cancelled,
        "memory_mb": memory,
        "growth_mb": {name: memory[-1][name] - memory[-2].get(name, 0.0) for name in memory[-1]},
    }


def run(size: str, count: int) -> tuple[dict[str, Any], list[Verdict]]:
    settings = {"presets": {"fast": {"max_codes": 200}}, "quality": "fast"}
    with serving(size, reference_s=3.0, **settings) as graph:
        found = asyncio.run(measure(graph, count))
    verdicts = [
        Verdict(f"{ROUNDS * count} disconnects: rows, slots and calls left", sum(found["left"].values()), 0),
        Verdict(
            f"memory that {count} more disconnects take, worst replica, MB",
            max(found["growth_mb"].values()),
            MOST_GROWTH_MB,
        ),
    ]
    return found, verdicts
