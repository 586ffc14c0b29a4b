"""`voicegraph serve` with toy models, as a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from cluster import free_port

TESTS = Path(__file__).parent
COMMAND = "from serve_app.cli import main; main()"
START_S = 180.0  # a busy machine needs a part of it


@dataclass(frozen=True)
class ToyServer:
    process: subprocess.Popen[bytes]
    log: Path
    config: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def told(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def family(self) -> list[psutil.Process]:
        """All processes that the server has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def haproxy(self) -> psutil.Process | None:
        """The one that listens; those that a reload left behind do not."""
        found = [each for each in self.family() if named(each) == "haproxy"]
        return max(found, key=lambda each: each.create_time(), default=None)

    def until(self, met: Any, within_s: float) -> float:
        """Seconds until `met()` is true."""
        began_s = time.monotonic()
        while not met():
            assert time.monotonic() - began_s < within_s, self.told
            time.sleep(0.05)
        return time.monotonic() - began_s

    def speak(self, text: str, **fields: Any) -> httpx.Response:
        body = {"input": text, "response_format": "pcm", **fields}
        return httpx.post(f"{self.url}/v1/audio/speech", json=body, timeout=60)


def named(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.name()
    return ""


def config_of(
    folder: Path,
    models: dict[str, Any],
    port: int,
    host: str = "127.0.0.1",
    application: dict[str, Any] | None = None,
    **args: Any,
) -> dict[str, Any]:
    """`application`: further keys of the application; `args`: further ones of its arguments."""
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": host, "port": port, "request_timeout_s": 300},
        "applications": [
            {
                "name": "voicegraph",
                "route_prefix": "/",
                "import_path": "serve_app.app:build",
                "args": {"models": models, "voices": {"url": str(folder / "voices")}, **args},
                "deployments": [{"name": "Router"}, {"name": "Ingress"}],
                **(application or {}),
            }
        ],
    }


@contextmanager
def toy_server(folder: Path, models: dict[str, Any], **args: Any) -> Iterator[ToyServer]:
    """Ready; whatever is left of it at the end is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(config_of(folder, models, port, **args)), encoding="utf-8")
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    log = folder / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            # As in a terminal: what a script starts in the background has SIGINT ignored.
            ["env", "--default-signal=INT", sys.executable, "-c", COMMAND, "serve", str(config)],
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        )
    server = ToyServer(process, log, config, port)
    family: list[psutil.Process] = []
    try:
        server.until(lambda: "Ctrl-C stops." in server.told or process.poll() is not None, START_S)
        assert process.poll() is None, server.told
        family = server.family()
        yield server
    finally:
        if process.poll() is None:
            family += server.family()
            process.send_signal(signal.SIGKILL)
            process.wait()
        for each in family:
            with contextlib.suppress(psutil.Error):
                each.kill()
