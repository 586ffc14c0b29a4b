"""docs/reliability.md from what was measured.

python -m benchmarks.faults.report
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "reliability.md"
ENDS = ("whole", "cut", "refused", "lost", "short", "stuck")

HEAD = """# Reliability

Written by `python -m benchmarks.faults.report` from `benchmarks/results/faults.json` and `soak.json`; the commands that
measure are below. The models are toys, so that the figures are of the graph around the models: a replica that has weights
to read is back later by that time.

## What a client sees

| | |
| --- | --- |
| before the first byte | another replica of the model does the work again; else another model answers, where the request leaves it the choice; else the request waits up to 10 s for the next replica, and gets 503 with `Retry-After` |
| after it | another replica takes over what it can do again: all stages of IndexTTS2, the pieces of Kokoro; else the stream is cut |
| a stream that is cut | the connection breaks without its last chunk; SSE gets `speech.audio.error`, a WebSocket `error`; the log one WARNING with request id, model, cause and bytes sent |
| nothing comes for `limits.piece_timeout_s` (15 s) | the stream is cut |
| a model without a running replica | goes last within a second, without anybody asking; it is asked again as soon as it has one |
| a step of an engine that does not return within 120 s | its replica is unhealthy, and is replaced |
| the first Ctrl-C or SIGTERM | new requests get 503 with `Retry-After`, `/readyz` is 503; streams may end within `limits.drain_timeout_s` (30 s); sessions end with what they have begun to speak |
| the second, or the first while the server starts | everything ends at once |
"""


def page(faults: dict[str, Any], soak: dict[str, Any]) -> str:
    return "\n".join([HEAD, *_faults(faults), "", *_soak(soak), ""])


def _faults(results: dict[str, Any]) -> list[str]:
    lines = [
        "## One fault at a time",
        "",
        f"`python -m benchmarks.faults --output benchmarks/results/faults.json`, {results['users']} users who ask without a",
        f"pause, on {_machine(results)}. *Back*: seconds until both models answer again.",
        "",
        "| fault | back | requests | whole | cut | refused | lost | short | stuck |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in results["faults"]:
        back = "–" if each["recovered_s"] is None else f"{each['recovered_s']:g}"
        ends = " | ".join(str(each[end]) for end in ENDS)
        lines.append(f"| {each['fault']} | {back} | {each['requests']} | {ends} |")
    return [
        *lines,
        "",
        "*Whole* is without those that the clients left themselves. *Refused*: with a status and `Retry-After`. *Lost*:",
        "without a byte and without either. *Short*: ended as if it were whole.",
    ]


def _soak(result: dict[str, Any]) -> list[str]:
    ends = ", ".join(f"{result[end]} {end}" for end in ENDS)
    lines = [
        "## Random kills for a while",
        "",
        f"`python -m benchmarks.soak --minutes {result['minutes']:g} --output benchmarks/results/soak.json`: "
        f"{result['kills']} processes killed",
        f"and {result['hangs']} stopped for 3 s; {result['requests']} requests: {ends}; the longest took "
        f"{result['longest_s']:g} s.",
        "",
        "Memory of the processes that lived through it, in MB:",
        "",
        "| process | after the warm-up | at the end |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {process.split()[0]} | {mb['first_mb']:g} | {mb['last_mb']:g} |"
        for process, mb in sorted(result["memory"].items())
    ]
    return lines


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine"]
    return f"{machine.get('cpu', 'a CPU')}, {machine.get('cores', '?')} cores"


def main() -> None:
    faults, soak = (json.loads((RESULTS / f"{name}.json").read_text("utf-8")) for name in ("faults", "soak"))
    PAGE.write_text(page(faults, soak), encoding="utf-8")


if __name__ == "__main__":
    main()
