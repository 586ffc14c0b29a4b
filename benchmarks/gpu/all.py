"""All checks and measurements of a GPU in one command of bounded time: correctness first, then speed.

    python -m benchmarks.gpu.all --budget-s 540

Every script is a process of its own: a device that one of them has broken does not take the others along. Results are
in the folder of `--output` as soon as they are there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.options import Options, parse
from benchmarks.gpu.report import Report

GRACE_S = 45.0  # for the part that is under way when the budget of a script is spent
LAST_WORDS_S = 10.0


@dataclass(frozen=True)
class Script:
    """`weight`: its part of the time that is left, of the sum of its own weight and those behind it; `of_indextts`:
    whether a `--directory`, which holds IndexTTS2, is for it."""

    module: str
    words: tuple[str, ...]
    weight: float
    of_indextts: bool = True


SCRIPTS = (
    Script("correctness", ("--stage", "gpt"), 2),
    Script(
        "correctness",
        ("--stage", "golden", "--stage", "s2mel", "--stage", "vocoder", "--stage", "speaker"),
        2,
    ),
    Script("stages_on_gpu", (), 3),
    Script("graph", (), 3),
    Script("voxcpm", ("--version", "1.5"), 2, of_indextts=False),
)


def run(script: Script, behind: Sequence[Script], options: Options, report: Report) -> dict[str, Any]:
    left_s = report.left_s - LAST_WORDS_S
    grace_s = min(GRACE_S, left_s / 6)
    share = script.weight / (script.weight + sum(other.weight for other in behind))
    budget_s = (left_s - grace_s) * share
    command = [sys.executable, "-m", f"benchmarks.gpu.{script.module}", *script.words]
    command += ["--size", options.size, "--device", options.device, "--budget-s", f"{budget_s:.0f}"]
    command += ["--output", str(report.path.parent)]
    if options.directory is not None and script.of_indextts:
        command += ["--directory", str(options.directory)]
    print(f"$ {' '.join(command[1:])}", flush=True)
    began_s = time.monotonic()
    timeout_s = max(1.0, min(left_s, budget_s + grace_s))
    try:
        code = subprocess.run(
            command, timeout=timeout_s, check=False, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        ).returncode
    except subprocess.TimeoutExpired:
        code = None
    seconds = time.monotonic() - began_s
    return {"command": command[2:], "seconds": seconds, "exit_code": code, "timed_out": code is None}


def headlines(folder: Path, size: str) -> None:
    """The few lines of all result files that are read first."""
    for path in sorted(folder.glob(f"*-{size}.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["what"] == f"all-{size}":
            continue
        print(f"\n{path.name}: {len(content['parts'])} parts, failed: {content['failed'] or 'none'}")
        for lines in (_skipped, _gpt_steps, _graph):
            for line in lines(content["parts"]):
                print(f"  {line}")


def _skipped(parts: Mapping[str, Any]) -> Iterator[str]:
    skipped = [name for name, part in parts.items() if "skipped" in part]
    if skipped:
        yield f"skipped: {', '.join(skipped)}"


def _gpt_steps(parts: Mapping[str, Any]) -> Iterator[str]:
    """Milliseconds of a step with the choice of codes, by rows, at the longest history."""
    for name, part in parts.items():
        result = part.get("result")
        if not isinstance(result, dict) or "timings" not in result:
            continue
        steps: defaultdict[int, str] = defaultdict(str)
        for timing in result["timings"]:
            if timing["part"] == "step" and timing["median_s"]:
                steps[timing["rows"]] = f"{1000 * timing['median_s']:.2f}"
        yield f"{name}: ms per step by rows " + ", ".join(f"{rows}: {ms}" for rows, ms in steps.items())


def _graph(parts: Mapping[str, Any]) -> Iterator[str]:
    for name, part in parts.items():
        result = part.get("result")
        if not isinstance(result, dict) or "summary" not in result:
            continue
        summary = result["summary"]
        first, rtf = summary["first_sample_s"], summary["rtf"]
        yield (
            f"{name}: first audio {first['p50']:.3f} s, RTF {rtf['p50']:.3f}, "
            f"{summary['audio_s_per_s']:.1f} s of audio per s, C100 {summary['c100']:.0%}"
        )


def main(argv: list[str] | None = None) -> int:
    options = parse(__doc__ or "", argv, {}, budget_s=540)
    report = Report.of("all", options)
    if report.make("checkpoint", options.checkpoint) is None:
        return report.end()
    worst = 0
    for number, script in enumerate(SCRIPTS):
        name = f"{script.module} {' '.join(script.words)}".strip()
        done = report.part(
            name,
            partial(run, script, SCRIPTS[number + 1 :], options, report),
            at_least_s=LAST_WORDS_S,
        )
        if done is None or done["exit_code"] != 0:
            report.failed.append(name)
            worst = 1
    headlines(report.path.parent, options.size)
    return max(worst, report.end())


if __name__ == "__main__":
    sys.exit(main())
