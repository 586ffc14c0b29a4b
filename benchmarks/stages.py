"""What each stage of IndexTTS2 costs: time and peak memory per stage, per step, by batch, and its share of a request.

    python -m benchmarks.stages --size mid            random weights, made on the way
    python -m benchmarks.stages --directory MODEL     any IndexTTS2 directory

Every stage runs in a process of its own, so its memory is its own. Figures are printed and written to
benchmarks/results/.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.random_checkpoint import CONFIGS, write_checkpoint
from benchmarks.stage_parts import STAGES, Measurement, Workload, measure
from serve_app.bench.machine import describe_machine, git_commit

RESULTS = Path(__file__).parent / "results"


def measure_apart(stage: str, work: Workload) -> list[Measurement]:
    """In a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, stage, work).result()


def shares(measurements: Sequence[Measurement]) -> dict[str, float]:
    """Seconds of one request alone by stage, a voice that is not cached included."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for each in measurements:
        if each.batch == 1:
            seconds[each.stage] += each.seconds * each.times_per_request
    return dict(seconds)


def parts_table(measurements: Sequence[Measurement]) -> Table:
    table = Table(title="one execution", title_justify="left")
    for heading in ("stage", "part", "batch", "ms", "ms per row", "peak MB"):
        table.add_column(heading, justify="left" if heading in ("stage", "part") else "right")
    for each in measurements:
        peak = "" if each.peak_bytes is None else f"{each.peak_bytes / 1e6:.0f}"
        ms = 1000 * each.seconds
        table.add_row(each.stage, each.part, str(each.batch), f"{ms:.2f}", f"{ms / each.batch:.2f}", peak)
    return table


def shares_table(work: Workload, by_stage: dict[str, float]) -> Table:
    audio_s = work.frames * 256 / 22_050
    title = (
        f"one request: {work.codes} codes, {audio_s:.2f} s of audio, {work.euler_steps} Euler steps, sampling"
    )
    table = Table(title=title, title_justify="left")
    for heading in ("stage", "s", "share", "share with a cached voice"):
        table.add_column(heading, justify="right" if heading != "stage" else "left")
    total = sum(by_stage.values())
    cached = total - by_stage.get("speaker_encoder", 0.0)
    for stage, seconds in by_stage.items():
        warm = "" if stage == "speaker_encoder" else f"{seconds / cached:.1%}"
        table.add_row(stage, f"{seconds:.3f}", f"{seconds / total:.1%}", warm)
    table.add_row("all", f"{total:.3f}", "", f"{cached:.3f} s, RTF {cached / audio_s:.2f}")
    return table


def main(
    *,
    size: Annotated[str, typer.Option(help=f"Random weights: {', '.join(CONFIGS)}.")] = "mid",
    directory: Annotated[Path | None, typer.Option(help="An IndexTTS2 directory instead.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16; not of the vocoder.")] = "float32",
    codes: Annotated[int, typer.Option(min=1, help="Codes of the request.")] = 60,
    steps: Annotated[int, typer.Option(min=1, help="Euler steps of the request.")] = 25,
    reference_s: Annotated[float, typer.Option(help="Seconds of the reference recording.")] = 5.0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch on a CPU.")] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Largest batch.")] = 16,
    stage: Annotated[list[str] | None, typer.Option(help=f"Only these: {', '.join(STAGES)}.")] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file; default in benchmarks/results.")] = None,
) -> None:
    """Time the stages of IndexTTS2 one by one."""
    if size not in CONFIGS or any(name not in STAGES for name in stage or ()):
        raise typer.BadParameter(f"sizes are {', '.join(CONFIGS)}; stages are {', '.join(STAGES)}")
    console = Console(highlight=False)
    batches = tuple(2**i for i in range(max_batch.bit_length()))
    with tempfile.TemporaryDirectory(prefix="voicegraph-stages-") as scratch:
        if directory is None:
            console.print(f"writing random weights ({size}) …")
        work = Workload(
            directory or write_checkpoint(Path(scratch), size),
            device=device,
            dtype=dtype,
            reference_s=reference_s,
            codes=codes,
            euler_steps=steps,
            batches=batches,
            threads=threads,
        )
        found: list[Measurement] = []
        for name in stage or STAGES:
            console.print(f"{name} …")
            found += measure_apart(name, work)
    by_stage = shares(found)
    console.print(parts_table(found), shares_table(work, by_stage))
    named = replace(work, directory=directory or Path(f"random-{size}"))
    path = output or RESULTS / f"stages-{named.directory.name}-{device}-{dtype}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(named, found, by_stage), indent=1) + "\n", encoding="utf-8")
    console.print(f"written to {path}")


def as_json(work: Workload, found: Sequence[Measurement], by_stage: dict[str, float]) -> dict[str, Any]:
    return {
        "commit": git_commit(),
        "machine": asdict(describe_machine()),
        "workload": asdict(work) | {"directory": str(work.directory)},
        "request_seconds": by_stage,
        "measurements": [asdict(each) for each in found],
    }


if __name__ == "__main__":
    typer.run(main)
