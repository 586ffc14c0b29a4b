"""First audio of a stream against one pass over the same utterance, and whether both are the same sound."""

from __future__ import annotations

import asyncio
import statistics
from typing import Any

import httpx
import numpy as np

from benchmarks.streaming.graph import MODEL, VOICE, Graph, serving
from benchmarks.streaming.verdict import Verdict
from serve_app.bench.client import SpeechClient
from serve_app.bench.metrics import first_sample_s

CODES = 60
STEPS = 25
TEXT = "The early train was late again this morning."
MOST_SHARE = 0.25
HOP = 256
AS_MADE = {"response_format": "pcm", "sample_rate": 22_050}  # resampling would move the borders


def settings(*, first_codes: int, lookahead_codes: int, first_steps: int) -> dict[str, Any]:
    return {
        "quality": "balanced",
        "longest_wait_s": 600,  # one request at a time: a busy machine makes all figures larger, not errors
        "presets": {
            name: {"diffusion_steps": STEPS, "max_codes": CODES, "num_beams": 1}
            for name in ("balanced", "reference")
        },
        "chunks": {
            "first_codes": first_codes,
            "lookahead_codes": lookahead_codes,
            "first_steps": first_steps,
            "patience_s": 0,  # these weights are slower than speech here: no wait would prevent the gaps
        },
    }


async def measure(graph: Graph, rounds: int) -> dict[str, Any]:
    """Streaming and one pass in turn; no seed, as a listener would ask."""
    first, whole = [], []
    async with SpeechClient(graph.target()) as stream, SpeechClient(graph.target(stream=False)) as one_pass:
        for turn in range(rounds + 1):
            streamed = (await stream.speak(TEXT)).trace(turn)
            passed = (await one_pass.speak(TEXT)).trace(turn)
            for trace in (streamed, passed):
                if trace.error:
                    raise SystemExit(f"{trace.error}: {trace.detail}")
            if turn:  # the first round warms up
                first.append(first_sample_s(streamed) or 0.0)
                whole.append(passed.total_s)
    return {
        "first_audio_s": first,
        "one_pass_s": whole,
        "share": statistics.median(a / b for a, b in zip(first, whole, strict=True)),
    }


async def sound(graph: Graph, **fields: Any) -> np.ndarray:
    """Samples (n,) within +-1."""
    body = {"model": MODEL, "voice": VOICE, "input": TEXT, "seed": 5, **AS_MADE, **fields}
    async with httpx.AsyncClient(timeout=300) as client:
        answer = await client.post(f"{graph.url}/v1/audio/speech", json=body)
    if not answer.is_success:
        raise SystemExit(answer.text)
    return np.frombuffer(answer.content, "<i2") / 32767


def level_jumps_db(wave: np.ndarray) -> np.ndarray:
    """Change of level from one hop of 256 samples to the next, dB."""
    hops = wave[: len(wave) // HOP * HOP].reshape(-1, HOP)
    levels = 10 * np.log10(np.mean(hops**2, axis=1) + 1e-9)
    return np.abs(np.diff(levels))


def sample_jumps(wave: np.ndarray) -> np.ndarray:
    """Largest step between neighbouring samples around each border of two hops."""
    return np.abs(np.diff(wave))[HOP - 1 :: HOP][: len(wave) // HOP - 1]


async def compare(graph: Graph) -> dict[str, float]:
    """Lengths, and how the borders of hops in the stream differ from those in one pass.

    A join is one of these borders. A click or a jump of level there would make the worst border of the stream stand
    out from the worst one of the single pass.
    """
    one, streamed = await sound(graph, stream=False), await sound(graph)
    reference = await sound(graph, quality="reference")
    unchunked = await sound(graph, quality="reference", stream=False)
    return {
        "samples_one_pass": float(len(one)),
        "samples_streamed": float(len(streamed)),
        "unchunked_difference": float(np.abs(reference - unchunked).max()),
        "level_jump_db_one_pass": float(level_jumps_db(one).max()),
        "level_jump_db_streamed": float(level_jumps_db(streamed).max()),
        "sample_jump_one_pass": float(sample_jumps(one).max()),
        "sample_jump_streamed": float(sample_jumps(streamed).max()),
        "rms_ratio": float(np.sqrt(np.mean(streamed**2) / np.mean(one**2))),
    }


def run(size: str, rounds: int, chunks: dict[str, int], weights: str) -> tuple[dict[str, Any], list[Verdict]]:
    """`weights`: a model of benchmarks.random_checkpoint."""
    with serving(size, reference_s=5.0, weights=weights, **settings(**chunks)) as graph:
        timing = asyncio.run(measure(graph, rounds))
        found = asyncio.run(compare(graph))
    verdicts = [
        Verdict("first audio over one pass", timing["share"], MOST_SHARE),
        Verdict("samples lost or doubled", abs(found["samples_streamed"] - found["samples_one_pass"]), 0),
        Verdict("chunking off: streaming against one pass", found["unchunked_difference"], 1e-4),
        Verdict(
            "worst change of level at a border, stream over one pass",
            found["level_jump_db_streamed"] / found["level_jump_db_one_pass"],
            1.25,
        ),
        Verdict(
            "worst step of samples at a border, stream over one pass",
            found["sample_jump_streamed"] / found["sample_jump_one_pass"],
            1.25,
        ),
    ]
    return {"codes": CODES, "steps": STEPS, "chunks": chunks, **timing, **found}, verdicts
