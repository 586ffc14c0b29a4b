"""`voicegraph serve` as a process, and the processes that it consists of."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from serve_app.commands.own_ports import any_port

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests"  # where the models of config.yaml are
COMMAND = "from serve_app.cli import main; main()"
START_S = 240.0
STOP_S = 60.0
ACTORS = ("ServeController", "FrontProxy", "ProxyActor")  # of Serve itself
REPLICA = re.compile(r"\bServeReplica:[^:]+:([\w-]+)")


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    log: Path
    url: str

    def processes(self) -> dict[str, list[psutil.Process]]:
        """By what they are: Ingress, Router, each stage, haproxy, HAProxyManager, ProxyActor, ServeController, …"""
        found: dict[str, list[psutil.Process]] = {"serve": [psutil.Process(self.process.pid)]}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            if (kind := _kind(process)) is not None:
                found.setdefault(kind, []).append(process)
        return found


def _kind(process: psutil.Process) -> str | None:
    with contextlib.suppress(psutil.Error):
        title = " ".join(process.cmdline())
        if replica := REPLICA.search(title):
            return replica[1]
        if title.startswith("ray::"):
            return next((actor for actor in ACTORS if actor in title), "ray")
        return process.name() if process.status() != psutil.STATUS_ZOMBIE else None
    return None


@contextmanager
def running_server(config: Path, variables: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Ready; stopped at the end as an operator would, and killed if that does not help. `variables`: further ones of
    its environment."""
    port = any_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "serve.log"
        path = os.pathsep.join([str(TOYS), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", COMMAND, "serve", str(config), "--port", str(port)],
                stdout=file,
                stderr=file,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **(variables or {})},
            )
        server = Server(process, log, f"http://127.0.0.1:{port}")
        try:
            _wait_until_ready(server)
            yield server
        finally:
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            for each in (*family, *([psutil.Process(process.pid)] if process.poll() is None else [])):
                with contextlib.suppress(psutil.Error):
                    each.kill()


def _wait_until_ready(server: Server) -> None:
    given_up_s = time.monotonic() + START_S
    while "Ctrl-C stops." not in (told := server.log.read_text("utf-8", "replace")):
        if server.process.poll() is not None or time.monotonic() > given_up_s:
            raise RuntimeError(f"the server did not start:\n{told}")
        time.sleep(0.2)
