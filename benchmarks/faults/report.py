"""The measured half of docs/reliability.md.

python -m benchmarks.faults.report
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "reliability.md"
ENDS = ("whole", "cut", "refused", "unconnected", "lost", "short", "stuck")

MARK = "<!-- measured -->"  # what follows it on the page is replaced


def measured(faults: dict[str, Any], soak: dict[str, Any]) -> str:
    return "\n".join([*_faults(faults), "", *_soak(soak), ""])


def _faults(results: dict[str, Any]) -> list[str]:
    lines = [
        "## One fault at a time",
        "",
        "`python -m benchmarks.faults --output benchmarks/results/faults.json`, "
        f"{results['users']} users who ask without",
        f"a pause, on {_machine(results)}. *Back*: seconds until both models answer again.",
        "",
        "| fault | back | requests | whole | cut | refused | no connection | lost | short | stuck |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in results["faults"]:
        back = "–" if each["recovered_s"] is None else f"{each['recovered_s']:g}"
        ends = " | ".join(str(each[end]) for end in ENDS)
        lines.append(f"| {each['fault']} | {back} | {each['requests']} | {ends} |")
    return [
        *lines,
        "",
        "*Whole* is without those that the clients left themselves. *Refused*: with a status and `Retry-After`.",
        "*No connection*: the port was closed for a moment, which every client of an SDK tries again.",
        "*Lost*: without a byte and without either. *Short*: ended as if it were whole.",
    ]


def _soak(result: dict[str, Any]) -> list[str]:
    ends = ", ".join(f"{result[end]} {end}" for end in (*ENDS, "broken") if end in result)
    lines = [
        "## Random kills for a while",
        "",
        f"`python -m benchmarks.soak --minutes {result['minutes']:g} --output benchmarks/results/soak.json`: "
        f"{result['kills']} processes killed",
        f"and {result['hangs']} stopped for 3 s; {result['requests']} requests: {ends}; the longest took "
        f"{result['longest_s']:g} s.",
        "",
        "*Broken*: the front proxy died with the connection of a request that had no byte yet. Nothing behind it can",
        "answer on that connection; clients see it break, and SDKs try again. Where that is too much, two nodes with a",
        "proxy each stand behind a load balancer.",
        "",
        "Memory (PSS, medians of 30 s) of the processes that lived through it, and of the kinds that were killed:",
        "",
        "| process | MB after the warm-up | MB at the end | change, % |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {process.split()[0]} | {mb['first_mb']:g} | {mb['last_mb']:g} | {_percent(mb):+.1f} |"
        for process, mb in sorted(result["memory"].items())
    ]
    return lines


def _percent(mb: dict[str, float]) -> float:
    return 100 * (mb["last_mb"] / mb["first_mb"] - 1) if mb["first_mb"] else 0.0


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine"]
    return f"{machine.get('cpu', 'a CPU')}, {machine.get('cores', '?')} cores"


def main() -> None:
    faults, soak = (json.loads((RESULTS / f"{name}.json").read_text("utf-8")) for name in ("faults", "soak"))
    written, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(f"{written}{mark}\n\n{measured(faults, soak)}", encoding="utf-8")


if __name__ == "__main__":
    main()
