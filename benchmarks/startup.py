"""What `voicegraph serve` takes until *Ready*, and then at rest: seconds, and CPU seconds of each of its processes.

    python -m benchmarks.startup configs/cpu.yaml

CPU seconds tell more than seconds where something else runs on the machine. All files of the models must be in place.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

READY, FAILED_AFTER_S = b"Ready", 600.0
POLL_S = 0.2
SETTLED_S = 15.0  # after Ready: the models have warmed up


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def name_of(process: psutil.Process) -> str:
    """Ray's workers name themselves; other processes are known by their program."""
    words = process.cmdline() or [process.name()]
    if words[0].startswith("ray::"):
        return words[0].removeprefix("ray::").split(".")[0]
    script = next((Path(word).name for word in words[1:] if word.endswith(".py")), "")
    return script or Path(words[-1] if "voicegraph" in words[-1] else words[0]).name


def cpu_seconds(processes: list[psutil.Process]) -> dict[str, tuple[float, float]]:
    """CPU seconds and megabytes by name of the process."""
    found: dict[str, tuple[float, float]] = {}
    for process in processes:
        try:
            times, memory_mb = process.cpu_times(), process.memory_info().rss / 2**20
            name = name_of(process)
        except psutil.Error:
            continue
        seconds, megabytes = found.get(name, (0.0, 0.0))
        found[name] = seconds + times.user + times.system, megabytes + memory_mb
    return found


def main(
    config: Annotated[Path, typer.Argument(help="Serve config file")],
    rest_s: Annotated[float, typer.Option(min=1, help="how long to watch it at rest")] = 30.0,
) -> None:
    """Start, measure, stop."""
    command = [
        str(Path(sys.executable).parent / "voicegraph"),
        "serve",
        str(config),
        "--port",
        str(free_port()),
    ]
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            while not _has(log, READY):
                if server.poll() is not None or time.monotonic() - began > FAILED_AFTER_S:
                    log.seek(0)
                    sys.exit(log.read().decode())
                time.sleep(POLL_S)
            ready_s = time.monotonic() - began
            root = psutil.Process(server.pid)
            found = cpu_seconds([root, *root.children(recursive=True)])
            time.sleep(SETTLED_S)
            before = cpu_seconds([root, *root.children(recursive=True)])
            time.sleep(rest_s)
            after = cpu_seconds([root, *root.children(recursive=True)])
        finally:
            os.killpg(server.pid, signal.SIGINT)
            server.wait()
    at_rest = {
        name: max(0.0, seconds - before.get(name, (seconds, 0.0))[0]) / rest_s
        for name, (seconds, _) in after.items()
    }
    table = Table("process", "CPU s to start", "MB", "cores at rest")
    for name in sorted(after, key=lambda name: -at_rest[name]):
        seconds, megabytes = found.get(name, (0.0, 0.0))
        table.add_row(name, f"{seconds:.1f}", f"{megabytes:.0f}", f"{at_rest[name]:.4f}")
    total = sum(seconds for seconds, _ in found.values())
    megabytes = sum(mb for _, mb in found.values())
    table.add_row("all", f"{total:.1f}", f"{megabytes:.0f}", f"{sum(at_rest.values()):.3f}", style="bold")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"Ready after {ready_s:.1f} s")


def _has(log: object, text: bytes) -> bool:
    return text in os.pread(log.fileno(), 1 << 20, 0)  # type: ignore[attr-defined]


if __name__ == "__main__":
    typer.run(main)
