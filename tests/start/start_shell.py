"""A reader's machine: an empty home, a shell that finds nothing of ours, and servers that are ended again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GIVE_UP_S = 600
SHELL_PATH = "/usr/local/bin:/usr/bin:/bin"
# As in a terminal: what a script starts in the background has SIGINT ignored, and so have its children.
HEARS_CTRL_C = ("env", "--default-signal=INT")
CLI = (sys.executable, "-c", "from serve_app.cli import main; main()")


def reader(home: Path, **further: str) -> dict[str, str]:
    """Environment of somebody whose home is `home`. Notes of running servers are kept apart from those of others."""
    kept = (
        "LANG",
        "LC_ALL",
        "OMP_NUM_THREADS",
        "VOICEGRAPH_TEST_RUN",
        "PIP_INDEX_URL",
        "NPM_CONFIG_REGISTRY",
    )
    notes = home / "tmp"
    notes.mkdir(parents=True, exist_ok=True)
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(home),
        "PATH": SHELL_PATH,
        "COLUMNS": "200",
        "TMPDIR": str(notes),
        "RAY_TMPDIR": "/tmp",  # sockets: their paths may have 107 characters
        **further,
    }


def run(command: list[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=GIVE_UP_S, check=False
    )


@dataclass(frozen=True)
class Serving:
    url: str
    told: str


@contextmanager
def serving(command: list[str], port: int, cwd: Path, environment: Mapping[str, str]) -> Iterator[Serving]:
    """A server that is ready meanwhile; Ctrl-C ends it."""
    log = cwd / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*HEARS_CTRL_C, *command],
            cwd=cwd,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + GIVE_UP_S
        while "Ctrl-C stops." not in (told := log.read_text("utf-8", errors="replace")):
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.2)
        yield Serving(f"http://localhost:{port}", told)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(GIVE_UP_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
