"""`python -m benchmarks.streaming [PART …]`: what docs/performance.md promises of streaming, on random weights.

Every part serves the whole graph in a Ray of its own. first-audio and rated-load want an idle machine. Exit code 1 if
something promised does not hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.streaming import disconnects, first_audio, independence, rated_load
from benchmarks.streaming.verdict import Verdict
from deployments.indextts2.traits import TWO, TWO_AND_A_HALF
from serve_app.bench.machine import describe_machine, git_commit

RESULTS = Path(__file__).parents[1] / "results" / "streaming_cpu.json"
Part = Callable[[], tuple[dict[str, Any], list[Verdict]]]
PARTS = ("first-audio", "first-audio-2.5", "independence", "disconnects", "rated-load")


def main(
    parts: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(PARTS)}; default: all.")] = None,
    *,
    rounds: Annotated[int, typer.Option(min=1, help="Of first-audio.")] = 5,
    requests: Annotated[int, typer.Option(min=2, help="At once, in independence.")] = 32,
    leaving: Annotated[int, typer.Option(min=2, help="Disconnects.")] = 200,
    duration_s: Annotated[float, typer.Option("--duration", help="Seconds of rated-load.")] = 240.0,
    first_codes: Annotated[int, typer.Option(min=1)] = 6,
    lookahead_codes: Annotated[int, typer.Option(min=0)] = 4,
    first_steps: Annotated[int, typer.Option(min=1)] = 4,
    output: Annotated[Path, typer.Option()] = RESULTS,
) -> None:
    """Measure, print what holds, write JSON (parts that were not run keep their figures)."""
    chunks = {"first_codes": first_codes, "lookahead_codes": lookahead_codes, "first_steps": first_steps}
    # Of codes that last twice as long; their codec needs as many to look ahead.
    halves = {**chunks, "first_codes": -(-first_codes // 2)}
    table: dict[str, Part] = {
        "first-audio": partial(first_audio.run, "mid", rounds, chunks, TWO.source),
        "first-audio-2.5": partial(first_audio.run, "mid", rounds, halves, TWO_AND_A_HALF.source),
        "independence": partial(independence.run, "tiny", requests),
        "disconnects": partial(disconnects.run, "tiny", leaving),
        "rated-load": partial(rated_load.run, "tiny", 24, duration_s, 150),
    }
    if unknown := set(parts or ()) - set(PARTS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: parts are {', '.join(PARTS)}")
    console = Console(highlight=False)
    content = json.loads(output.read_text()) if output.exists() else {}
    holds = True
    for name in parts or PARTS:
        console.print(f"{name} …", style="dim")
        found, verdicts = table[name]()
        for verdict in verdicts:
            console.print(str(verdict), style="green" if verdict.holds else "red")
        holds = holds and all(verdict.holds for verdict in verdicts)
        content[name] = {
            "machine": asdict(describe_machine()),
            "commit": git_commit(),
            "verdicts": [{**asdict(verdict), "holds": verdict.holds} for verdict in verdicts],
            **found,
        }
        output.parent.mkdir(exist_ok=True)
        output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if not holds:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
