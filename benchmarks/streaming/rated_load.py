"""Playback continuity under load: how many listeners never hear a gap at the load this machine is rated for.

The rated load is a share of what the graph makes when it is always busy: RATED of the requests per second of a closed
loop. Arrivals are random (Poisson) and do not wait for the server.
"""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.streaming.graph import Graph, serving
from benchmarks.streaming.verdict import Verdict
from serve_app.bench.arrivals import ClosedLoop, OpenLoop
from serve_app.bench.metrics import summarise
from serve_app.bench.report import metrics
from serve_app.bench.run import run as run_load

RATED = 0.33
BUSY = 4  # users of the closed loop
LEAST_C100 = 0.99
TEXTS = (
    "The early train was late again this morning.",
    "Please leave your coat over there, and take a seat by the window.",
    "Yes, of course.",
    "The harbour wakes before the sun does. Fishermen load their nets, and the first ferry sounds its horn.",
)


async def measure(graph: Graph, busy_requests: int, duration_s: float) -> dict[str, Any]:
    target = graph.target()
    busy = summarise(
        await run_load(target, ClosedLoop(BUSY, busy_requests), TEXTS, seed=1, warmup=len(TEXTS))
    )
    rate = RATED * busy.requests_per_s
    rated = summarise(await run_load(target, OpenLoop(rate, duration_s, seed=2), TEXTS, seed=2, warmup=1))
    return {
        "rated_share": RATED,
        "busy": metrics(busy),
        "rated_requests_per_s": rate,
        "rated": metrics(rated),
        "c100": rated.c100 or 0.0,
        "failed": rated.failed + rated.rejected,
    }


def run(size: str, busy_requests: int, duration_s: float, codes: int) -> tuple[dict[str, Any], list[Verdict]]:
    settings = {
        "quality": "fast",
        "presets": {"fast": {"max_codes": codes}},
        # On a CPU a batch of Euler steps takes as long as its rows one by one: the most urgent first is better.
        "s2mel": {"max_step_frames": 1},
    }
    with serving(size, reference_s=3.0, **settings) as graph:
        found = asyncio.run(measure(graph, busy_requests, duration_s))
    verdicts = [
        Verdict("C100 at the rated load", found["c100"], LEAST_C100, at_least=True),
        Verdict("requests failed or refused at the rated load", found["failed"], 0),
    ]
    return {"codes": codes, **found}, verdicts
