"""What the graph costs: first audio over HTTP against the same model called in this process.

Both sides are measured in turn within one run, so that a machine that slows down slows both. Usage:

    python benchmarks/overhead.py http://127.0.0.1:8000 package.module:make_local_model --rounds 5

where `make_local_model()` returns a `LocalModel`. The server should be idle otherwise.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from serve_app.bench.client import SpeechClient, Target
from serve_app.bench.errors import BenchError
from serve_app.bench.machine import describe_machine, git_commit
from serve_app.bench.metrics import first_sample_s
from serve_app.bench.texts import ENGLISH, read_texts

# Short enough to be one segment on the server as well, so that both sides synthesise the same audio.
SHORT_TEXTS = ENGLISH[:10]


class LocalModel(Protocol):
    def speak(self, text: str, voice: str) -> tuple[np.ndarray, int]:
        """All samples [n] of a text, and their rate in Hz."""
        ...


@dataclass(frozen=True)
class Pair:
    """One text measured both ways, seconds to the first audio."""

    text: str
    http_s: float
    local_s: float

    @property
    def overhead_s(self) -> float:
        return self.http_s - self.local_s


@dataclass(frozen=True)
class Overhead:
    """Figures over all pairs; `ratio` is median HTTP time over median local time."""

    pairs: int
    http_median_s: float
    http_p95_s: float
    local_median_s: float
    local_p95_s: float
    overhead_median_s: float
    overhead_p95_s: float
    ratio: float

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Overhead:
        http = np.percentile([pair.http_s for pair in pairs], (50, 95))
        local = np.percentile([pair.local_s for pair in pairs], (50, 95))
        overhead = np.percentile([pair.overhead_s for pair in pairs], (50, 95))
        return cls(
            pairs=len(pairs),
            http_median_s=float(http[0]),
            http_p95_s=float(http[1]),
            local_median_s=float(local[0]),
            local_p95_s=float(local[1]),
            overhead_median_s=float(overhead[0]),
            overhead_p95_s=float(overhead[1]),
            ratio=float(http[0] / local[0]),
        )


async def measure(
    target: Target,
    model: LocalModel,
    texts: Sequence[str],
    *,
    rounds: int,
    warmup: int = 1,
) -> list[Pair]:
    """Each text `rounds` times, HTTP and local in turn and in alternating order, after `warmup` rounds.

    The texts must be short enough for the server to speak each as one piece. BenchError as soon as the server fails a
    request: half a pair compares nothing.
    """
    pairs: list[Pair] = []
    async with SpeechClient(target) as client:
        for turn in range(warmup + rounds):
            for number, text in enumerate(texts):
                local_first = (turn + number) % 2 == 1
                local_s = _local_s(model, text, target.voice) if local_first else 0.0
                http_s = await _http_s(client, text)
                if not local_first:
                    local_s = _local_s(model, text, target.voice)
                if turn >= warmup:
                    pairs.append(Pair(text, http_s, local_s))
    return pairs


def _local_s(model: LocalModel, text: str, voice: str) -> float:
    """Blocks the event loop on purpose: nothing else may run while either side is timed."""
    start_s = time.perf_counter()
    samples, _ = model.speak(text, voice)
    elapsed_s = time.perf_counter() - start_s
    if not len(samples):
        raise BenchError(f"the local model gave no samples for {text!r}")
    return elapsed_s


async def _http_s(client: SpeechClient, text: str) -> float:
    trace = (await client.speak(text)).trace(0)
    first_s = first_sample_s(trace)
    if trace.error or first_s is None:
        raise BenchError(f"{client.target.url} failed on {text!r}: {trace.error}: {trace.detail}")
    return first_s


def table(overhead: Overhead) -> Table:
    rows = Table(title=f"first audio, {overhead.pairs} pairs", title_justify="left")
    for heading in ("", "median (ms)", "p95 (ms)"):
        rows.add_column(heading, justify="right" if heading else "left")
    for name, median_s, p95_s in (
        ("over HTTP", overhead.http_median_s, overhead.http_p95_s),
        ("in process", overhead.local_median_s, overhead.local_p95_s),
        ("graph overhead", overhead.overhead_median_s, overhead.overhead_p95_s),
    ):
        rows.add_row(name, f"{1000 * median_s:.1f}", f"{1000 * p95_s:.1f}")
    rows.add_row("ratio of medians", f"{overhead.ratio:.2f}")
    return rows


def load_model(name: str) -> LocalModel:
    """`package.module:factory`, called without arguments."""
    module, _, factory = name.partition(":")
    if not factory:
        raise BenchError(f"{name!r} is not package.module:factory")
    try:
        model: LocalModel = getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError) as error:
        raise BenchError(f"cannot make the local model {name!r}: {error}") from error
    return model


def main(
    url: Annotated[str, typer.Argument(help="Base URL of the server.")],
    local: Annotated[str, typer.Argument(help="package.module:factory of the model to call here.")],
    *,
    model: Annotated[str, typer.Option(help="Model to ask the server for.")] = "tts-1",
    voice: Annotated[str, typer.Option(help="Voice on both sides.")] = "alloy",
    rounds: Annotated[int, typer.Option(min=1, help="Times every text is measured.")] = 5,
    texts: Annotated[Path | None, typer.Option(help="UTF-8 file of texts of one segment each.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write figures and pairs as JSON.")] = None,
) -> None:
    """Measure first audio over HTTP and in process, in turn, and print the difference."""
    people = Console(highlight=False)
    target = Target(url, model=model, voice=voice)
    try:
        spoken = read_texts(texts) if texts else SHORT_TEXTS
        pairs = asyncio.run(measure(target, load_model(local), spoken, rounds=rounds))
    except BenchError as error:
        people.print(f"error: {error}", markup=False, style="red")
        raise typer.Exit(1) from error
    overhead = Overhead.of(pairs)
    people.print(table(overhead))
    if output:
        output.write_text(json.dumps(as_json(target, overhead, pairs), indent=2) + "\n", encoding="utf-8")


def as_json(target: Target, overhead: Overhead, pairs: Sequence[Pair]) -> dict[str, Any]:
    return {
        "commit": git_commit(),
        "machine": asdict(describe_machine()),
        "settings": target.settings(),
        "overhead": asdict(overhead),
        "pairs": [asdict(pair) for pair in pairs],
    }


if __name__ == "__main__":
    typer.run(main)
