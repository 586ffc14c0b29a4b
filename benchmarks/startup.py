"""What `voicegraph serve` takes until *Ready*, then at rest, and what it holds: of each of its processes.

    python -m benchmarks.startup configs/cpu.yaml --requests 60 --output startup.json

CPU seconds tell more than seconds where something else runs on the machine. Memory is the proportional set size (PSS):
what processes share is counted once in all. All files of the models must be in place.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import httpx
import psutil
import typer
from rich.console import Console
from rich.table import Table

from serve_app.bench.machine import describe_machine, git_commit
from serve_app.commands.own_ports import any_port

READY, FAILED_AFTER_S = b"Ready", 600.0
POLL_S = 0.2
SETTLED_S = 15.0  # after Ready: the models have warmed up
TEXTS = (
    "A short one.",
    "The quick brown fox jumps over the lazy dog while the others look on.",
    "It was late in the evening when the train arrived. Nobody had waited for it, and nobody left it.",
)


@dataclass(frozen=True, slots=True)
class Held:
    """Of all processes of one name."""

    processes: int
    began_s: float  # when the first of them was started
    cpu_s: float
    pss_mb: float
    private_mb: float


def name_of(process: psutil.Process) -> str:
    """Ray's workers name themselves; other processes are known by their program."""
    words = process.cmdline() or [process.name()]
    if words[0].startswith("ray::"):
        return words[0].removeprefix("ray::").split(".")[0]
    script = next((Path(word).name for word in words[1:] if word.endswith(".py")), "")
    return script or Path(words[-1] if "voicegraph" in words[-1] else words[0]).name


def held_by(root: psutil.Process) -> dict[str, Held]:
    """What `root` and its descendants have used and hold, by name."""
    found: dict[str, Held] = {}
    for process in [root, *root.children(recursive=True)]:
        try:
            times, memory = process.cpu_times(), process.memory_full_info()
            began_s, name = process.create_time() - root.create_time(), name_of(process)
        except psutil.Error:
            continue
        had = found.get(name, Held(0, began_s, 0.0, 0.0, 0.0))
        found[name] = Held(
            had.processes + 1,
            min(had.began_s, began_s),
            had.cpu_s + times.user + times.system,
            had.pss_mb + memory.pss / 2**20,
            had.private_mb + memory.uss / 2**20,
        )
    return found


@contextmanager
def starting(config: Path, port: int) -> Iterator[tuple[psutil.Process, IO[bytes]]]:
    """`voicegraph serve` of this very Python, and what it says; stopped at the end."""
    command = [str(Path(sys.executable).with_name("voicegraph")), "serve", str(config), "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield psutil.Process(server.pid), log
        finally:
            os.killpg(server.pid, signal.SIGINT)
            server.wait()


def wait_until_ready(root: psutil.Process, log: IO[bytes]) -> float:
    """Seconds since the command was started."""
    while READY not in os.pread(log.fileno(), 1 << 20, 0):
        took_s = time.time() - root.create_time()
        if root.status() == psutil.STATUS_ZOMBIE or took_s > FAILED_AFTER_S:
            sys.exit(os.pread(log.fileno(), 1 << 20, 0).decode())
        time.sleep(POLL_S)
    return time.time() - root.create_time()


def ask(url: str, requests: int) -> None:
    """One after the other, of every model in turn."""
    with httpx.Client(base_url=url, timeout=300) as client:
        models = [
            model["id"] for model in client.get("/v1/models").raise_for_status().json()["data"] if model["id"]
        ]
        for i in range(requests):
            body = {"model": models[i % len(models)], "input": TEXTS[i % len(TEXTS)], "seed": i}
            client.post("/v1/audio/speech", json=body).raise_for_status()


def measure(config: Path, rest_s: float, requests: int) -> dict[str, Any]:
    port = any_port()
    with starting(config, port) as (root, log):
        ready_s = wait_until_ready(root, log)
        started = held_by(root)
        time.sleep(SETTLED_S)
        before = held_by(root)
        time.sleep(rest_s)
        rested = held_by(root)
        ask(f"http://127.0.0.1:{port}", requests)
        used = held_by(root)
    processes = {
        name: {
            "processes": held.processes,
            "began_s": round(held.began_s, 1),
            "start_cpu_s": round(started[name].cpu_s if name in started else 0.0, 1),
            "rest_cores": round(max(0.0, held.cpu_s - before[name].cpu_s) / rest_s, 4)
            if name in before
            else 0.0,
            "pss_mb": round(held.pss_mb),
            "private_mb": round(held.private_mb),
            "used_pss_mb": round(used[name].pss_mb) if name in used else 0,
        }
        for name, held in rested.items()
    }
    totals = {
        key: round(sum(row[key] for row in processes.values()), 3)
        for key in ("processes", "start_cpu_s", "rest_cores", "pss_mb", "private_mb", "used_pss_mb")
    }
    totals["start_cpu_s"] = round(sum(held.cpu_s for held in started.values()), 1)
    return {"ready_s": round(ready_s, 1), "requests": requests, "all": totals, "by_process": processes}


def show(result: dict[str, Any], console: Console) -> None:
    used = f"PSS MB after {result['requests']} requests"
    table = Table("process", "n", "began s", "CPU s to start", "cores at rest", "PSS MB", "private MB", used)
    rows = sorted(result["by_process"].items(), key=lambda row: -row[1]["pss_mb"])
    for name, row in [*rows, ("all", result["all"])]:
        table.add_row(
            name,
            str(row["processes"]),
            str(row.get("began_s", "")),
            f"{row['start_cpu_s']:.1f}",
            f"{row['rest_cores']:.4f}",
            *(f"{row[key]:.0f}" for key in ("pss_mb", "private_mb", "used_pss_mb")),
        )
    console.print(table)
    console.print(f"Ready after {result['ready_s']} s")


def main(
    config: Annotated[Path, typer.Argument(help="Serve config file")],
    rest_s: Annotated[float, typer.Option(min=1, help="how long to watch it at rest")] = 60.0,
    requests: Annotated[int, typer.Option(min=0, help="asked after that")] = 0,
    output: Annotated[Path | None, typer.Option(help="a JSON file")] = None,
) -> None:
    """Start, measure, stop."""
    result = measure(config, rest_s, requests)
    show(result, Console(highlight=False, width=140))
    if output is not None:
        about = {"machine": asdict(describe_machine()), "commit": git_commit(), "config": config.name}
        output.write_text(json.dumps({**about, **result}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
