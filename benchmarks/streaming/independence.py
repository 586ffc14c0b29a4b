"""The same audio at any load: requests together against one by one, and the codes of the GPT stage likewise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from benchmarks.streaming.graph import MODEL, VOICE, Graph, serving
from benchmarks.streaming.mixed import Ask, asks, gpt_jobs
from benchmarks.streaming.probes import random_voice
from benchmarks.streaming.verdict import Verdict
from deployments.core.metrics import Reply
from deployments.core.stages import Stream, items
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from serve_app.client import connect

MOST = 1e-4
MAX_CODES = 90

Job = TypeVar("Job")
Made = TypeVar("Made")


async def both_ways(
    jobs: Sequence[Job], make: Callable[[Job], Awaitable[Made]]
) -> tuple[list[Made], list[Made]]:
    """One by one, then all at once."""
    alone = [await make(job) for job in jobs]
    return alone, list(await asyncio.gather(*(make(job) for job in jobs)))


def worst_difference(alone: Sequence[np.ndarray], together: Sequence[np.ndarray]) -> float:
    """Infinite where lengths differ."""
    return max(
        float(np.abs(one - other).max(initial=0.0)) if one.shape == other.shape else float("inf")
        for one, other in zip(alone, together, strict=True)
    )


async def codes_differ(graph: Graph, count: int) -> int:
    """Jobs whose codes depend on what else runs."""
    dims = IndexTTSCheckpoint(graph.checkpoint).gpt_dims
    handle = graph.stage("gpt").options(stream=True)

    async def codes(job: GptJob) -> np.ndarray:
        replies = items(cast(Stream[Reply[CodeChunk]], handle.stream.remote(job)))
        return np.concatenate([reply.value.codes async for reply in replies])

    jobs = gpt_jobs(count, dims.model_dim, random_voice(graph), MAX_CODES)
    alone, together = await both_ways(jobs, codes)
    return sum(not np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


async def waves(count: int) -> dict[str, float]:
    """float32 samples through the Python handle: no rounding to 16 bits hides anything."""
    tts = connect()

    async def wave(ask: Ask) -> np.ndarray:
        return (await tts.speak(ask.text, model=MODEL, voice=VOICE, **ask.fields)).samples

    requests = asks(count)
    await wave(requests[0])
    began = time.perf_counter()
    alone, together = await both_ways(requests, wave)
    streams = [number for number, request in enumerate(requests) if request.stream]
    whole = [number for number, request in enumerate(requests) if not request.stream]
    return {
        "seconds": time.perf_counter() - began,
        "audio_s": sum(len(one) for one in alone) / 22_050,
        **{
            name: worst_difference([alone[i] for i in which], [together[i] for i in which])
            for name, which in (("streaming", streams), ("whole", whole))
        },
    }


def run(size: str, count: int) -> tuple[dict[str, Any], list[Verdict]]:
    settings = {"presets": {"fast": {"max_codes": MAX_CODES}}, "quality": "fast"}
    with serving(size, reference_s=3.0, **settings) as graph:
        found = asyncio.run(waves(count))
        different = asyncio.run(codes_differ(graph, count))
    verdicts = [
        Verdict(f"{count} mixed GPT jobs together: with other codes than alone", different, 0),
        Verdict(f"{count} mixed requests, streams: difference of waves", found["streaming"], MOST),
        Verdict(f"{count} mixed requests, whole: difference of waves", found["whole"], MOST),
    ]
    return {"requests": count, "jobs_with_other_codes": different, **found}, verdicts
