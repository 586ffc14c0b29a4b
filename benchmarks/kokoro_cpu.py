"""`make bench`: Kokoro on this machine through the whole graph, and what the graph adds to the bare model.

Starts its own server on a free port, measures (1) first audio by length of the first clause, (2) a load at
concurrency 1 and 4, (3) HTTP against the same model called in this process, and writes
benchmarks/results/kokoro_cpu.json. The machine should be idle otherwise.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.overhead import Overhead, measure
from deployments.kokoro.job import SAMPLE_RATE_HZ, KokoroJob
from deployments.kokoro.model import KokoroModel
from deployments.weights.registry import find_model
from serve_app.bench.arrivals import ClosedLoop
from serve_app.bench.client import SpeechClient, Target
from serve_app.bench.machine import describe_machine, git_commit
from serve_app.bench.metrics import first_sample_s, rtf, summarise
from serve_app.bench.report import metrics
from serve_app.bench.run import run
from serve_app.bench.texts import ENGLISH

RESULTS = Path(__file__).parent / "results" / "kokoro_cpu.json"
VOICE = "af_heart"
THREADS = 2
START_TIMEOUT_S = 120

SIX_WORDS = (
    "The morning train is late again.",
    "We found the keys last night.",
    "Good evening, and welcome back everyone.",
    "Please leave your coat over there.",
    "Nobody saw the old dog leave.",
)
TWELVE_WORDS = (
    "The morning train to the coast is usually late on rainy days.",
    "She carried two heavy boxes of books up the stairs without stopping.",
    "Every summer our neighbours paint the wooden fence behind their small house.",
    "My father built this round kitchen table from an old oak door.",
)
# The graph's overhead does not depend on the text; short ones let it stand out from the noise of the synthesis.
FEW_WORDS = ("Good morning.", "Yes, of course.", "Thank you.", "Not today.", "All right.")
SIXTY_WORDS = (
    "The harbour wakes before the sun does. Fishermen load their nets, gulls circle above the masts, and the "
    "first ferry sounds its horn. By eight the market is full of voices and the smell of bread. Children run "
    "between the stalls while their parents argue about the price of tomatoes. Later, when the heat comes, "
    "everybody goes home and the square falls silent.",
)


class LocalKokoro:
    """The model in this process, without graph, queue or HTTP."""

    def __init__(self) -> None:
        self._model = KokoroModel(find_model("kokoro"), threads=THREADS)
        self._model.warm_up(["en"])

    def speak(self, text: str, voice: str) -> tuple[np.ndarray, int]:
        return self._model.speak(KokoroJob(text, voice)).samples, SAMPLE_RATE_HZ


class Server:
    """`voicegraph serve` as a child process."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        command = [str(Path(sys.executable).parent / "voicegraph"), "serve", "--port", str(port)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)

    def wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        self.stop()
        raise SystemExit("the server did not start; `voicegraph serve` says why")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


async def first_audio(target: Target, texts: tuple[str, ...], rounds: int) -> dict[str, float]:
    """Medians and worst case over `rounds` of `texts`, one request at a time."""
    first, share, ratios = [], [], []
    async with SpeechClient(target) as client:
        await client.speak(texts[0])
        for text in texts * rounds:
            trace = (await client.speak(text)).trace(0)
            if trace.error or (first_s := first_sample_s(trace)) is None:
                raise SystemExit(f"{text!r}: {trace.error}: {trace.detail}")
            first.append(first_s)
            share.append(first_s / trace.total_s)
            ratios.append(rtf(trace) or 0.0)
    return {
        "first_audio_s_median": statistics.median(first),
        "first_audio_s_max": max(first),
        "share_of_request_median": statistics.median(share),
        "rtf_median": statistics.median(ratios),
    }


async def measure_all(url: str, rounds: int) -> dict[str, Any]:
    target = Target(base_url=url, model="kokoro", voice=VOICE)
    lengths = {
        "six_words": await first_audio(target, SIX_WORDS, rounds),
        "twelve_words": await first_audio(target, TWELVE_WORDS, rounds),
        "sixty_words": await first_audio(target, SIXTY_WORDS, rounds),
    }
    loads = {}
    for concurrency in (1, 4):
        traces = await run(target, ClosedLoop(concurrency, 20), ENGLISH, seed=0, warmup=1)
        loads[f"concurrency_{concurrency}"] = metrics(summarise(traces))
    pairs = await measure(
        target,
        LocalKokoro(),
        FEW_WORDS,
        rounds=3 * rounds,
    )
    return {"first_audio": lengths, "load": loads, "overhead": asdict(Overhead.of(pairs))}


def show(results: dict[str, Any]) -> None:
    table = Table("first clause", "first audio, median", "worst", "share of the request", "RTF")
    for name, row in results["first_audio"].items():
        table.add_row(
            name.replace("_", " "),
            f"{row['first_audio_s_median']:.3f} s",
            f"{row['first_audio_s_max']:.3f} s",
            f"{row['share_of_request_median']:.2f}",
            f"{row['rtf_median']:.3f}",
        )
    console = Console()
    console.print(table)
    console.print({"overhead": results["overhead"]})


def main(rounds: int = 4, port: int = 8799) -> None:
    """Measure and write the results."""
    server = Server(port)
    try:
        server.wait()
        results = asyncio.run(measure_all(server.url, rounds))
    finally:
        server.stop()
    content = {
        "machine": asdict(describe_machine()),
        "commit": git_commit(),
        "load_average_1_min_at_start": os.getloadavg()[0],
        "cores": multiprocessing.cpu_count(),
        **results,
    }
    show(results)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    Console().print(f"written to {RESULTS}")


if __name__ == "__main__":
    typer.run(main)
