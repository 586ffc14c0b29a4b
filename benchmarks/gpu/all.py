"""All checks and measurements of a GPU in one command of bounded time: correctness first, then speed.

    python -m benchmarks.gpu.all --budget-s 540

Every script is a process of its own: a device that one of them has broken does not take the others along. Results are
in $OUT, or benchmarks/results, as soon as they are there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.gpu.headlines import headlines
from benchmarks.gpu.options import Options, parse
from benchmarks.gpu.report import Report

GRACE_S = 45.0  # for the part that is under way when the budget of a script is spent
LAST_WORDS_S = 10.0


@dataclass(frozen=True)
class Script:
    """`weight`: its part of the time that is left, of the sum of its own weight and those behind it."""

    module: str
    words: tuple[str, ...]
    weight: float


SCRIPTS = (
    Script("correctness", ("--stage", "gpt"), 2),
    Script(
        "correctness",
        ("--stage", "golden", "--stage", "s2mel", "--stage", "vocoder", "--stage", "speaker"),
        2,
    ),
    Script("stages_on_gpu", (), 3),
    Script("graph", (), 3),
)


def run(script: Script, behind: Sequence[Script], options: Options, report: Report) -> dict[str, Any]:
    left_s = report.left_s - LAST_WORDS_S
    grace_s = min(GRACE_S, left_s / 6)
    share = script.weight / (script.weight + sum(other.weight for other in behind))
    budget_s = (left_s - grace_s) * share
    command = [sys.executable, "-m", f"benchmarks.gpu.{script.module}", *script.words]
    command += ["--size", options.size, "--device", options.device, "--budget-s", f"{budget_s:.0f}"]
    for name, value in (("--directory", options.directory), ("--output", options.output)):
        command += [] if value is None else [name, str(value)]
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
