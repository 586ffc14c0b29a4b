"""What autoscaling does with a burst, on a real cluster of processes of this machine.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --users 40 --burst-s 60 --output scaling.json

One model is under load, another is not. Stages compute nothing, so that what is measured are Serve, the policy and the
streams: how soon a further replica runs, how soon it is gone again, whether anybody is cut off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.scaling.nodes import Worker
from benchmarks.scaling.serving import serving
from benchmarks.scaling.shaped_load import Phase, Run, shaped_load

CONFIG = Path(__file__).with_name("config.yaml")
WORKERS = (Worker({"stages": "talkers"}), Worker({"stages": "vocoders"}))
QUIET_USERS = 1


def measure(users: int, quiet_s: float, burst_s: float, after_s: float) -> Run:
    phases = (Phase(QUIET_USERS, quiet_s), Phase(users, burst_s), Phase(QUIET_USERS, after_s))
    with serving(CONFIG, WORKERS) as served:
        return asyncio.run(shaped_load(served.url, "busy", phases, served.replicas))


def report(run: Run) -> dict[str, Any]:
    first = sorted(each.first_audio_s for each in run.heard if each.whole)
    return {
        "streams": len(run.heard),
        "failed": run.failed,
        "cut": run.cut,
        "first_audio_s": {"p50": first[len(first) // 2], "p95": first[int(len(first) * 0.95)]}
        if first
        else None,
        "deployments": {
            name: {
                "peak": run.peak(name),
                "grew_after_s": run.grew_after_s(name),
                "back_after_s": run.back_after_s(name),
            }
            for name in run.samples[-1].replicas
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=14, help="in the burst")
    parser.add_argument("--quiet-s", type=float, default=6.0)
    parser.add_argument("--burst-s", type=float, default=25.0)
    parser.add_argument("--after-s", type=float, default=30.0)
    parser.add_argument("--output", type=Path, default=None, help="where the report goes as JSON")
    options = parser.parse_args(arguments)
    found = report(measure(options.users, options.quiet_s, options.burst_s, options.after_s))
    counted = ", ".join(f"{found[key]} {key}" for key in ("streams", "failed", "cut"))
    print(f"{counted}; first audio {found['first_audio_s']}")
    print("deployment      peak  grew after  back after")
    for name, each in found["deployments"].items():
        grew, back = (_seconds(each[key]) for key in ("grew_after_s", "back_after_s"))
        print(f"{name:15s} {each['peak']:4d}  {grew:>10s}  {back:>10s}")
    if options.output:
        options.output.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


if __name__ == "__main__":
    main()
