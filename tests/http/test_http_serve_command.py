"""`make serve` as a newcomer runs it: ready, answers, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from cluster import free_port

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 90
# As in a terminal: what a script starts in the background has SIGINT ignored, and so have its children.
HEARS_CTRL_C = ("env", "--default-signal=INT")

pytestmark = pytest.mark.weights


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port: int, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = tmp_path / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*HEARS_CTRL_C, "make", "serve", f"PORT={port}"],
            cwd=ROOT,
            stdout=file,
            stderr=file,
            start_new_session=True,  # a process group of its own, as in a terminal
            env={**os.environ, "COLUMNS": "200"},
        )
    yield process, log
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def wait_for(log: Path, text: str, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        if text in (content := log.read_text(encoding="utf-8", errors="replace")):
            return content
        time.sleep(0.2)
    raise AssertionError(log.read_text(encoding="utf-8", errors="replace"))


def test_serve_answers_and_stops(port: int, server: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, log = server
    told = wait_for(log, "Ctrl-C stops.", process)
    assert f"http://localhost:{port}/" in told
    assert "curl" in told
    answer = httpx.post(
        f"http://localhost:{port}/v1/audio/speech",
        json={"input": "Ready.", "response_format": "pcm"},
        timeout=30,
    )
    assert len(answer.content) > 10_000

    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) > 3
    os.killpg(process.pid, signal.SIGINT)
    process.wait(30)
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
    assert "Traceback" not in log.read_text(encoding="utf-8")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_busy_port_is_one_clear_line(port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", port))
        taken.listen()
        done = subprocess.run(
            ["make", "-s", "serve", f"PORT={port}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("make")]
    assert lines == [f"port {port} is in use; choose another with --port (or make serve PORT=…)"]
