"""What `voicegraph serve` says of processes that die of a signal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from serve_app.commands import serve

FAILED = "A replica failed to start with exception. Retrying 2 more time(s). Error:\nActorDiedError()"


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(serve, "logs_directory", lambda: tmp_path)
    return tmp_path


def leave(logs: Path, trace: str) -> int:
    """A replica of `kokoro-kokoro` that has died, and its pid."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    log = logs / f"worker-ab-01-{child.pid}.err"
    log.write_text(f":actor_name:ServeReplica:default:kokoro-kokoro\n{trace}", encoding="utf-8")
    return child.pid


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        (
            "*** SIGILL received at time=1 on cpu 1 ***\nPC: @ 0x1 (unknown) onnx_run\n",
            "died of SIGILL in onnx_run",
        ),
        ("", "killed (SIGKILL)"),
    ],
)
def test_a_start_ends_at_the_first_process_that_dies_of_a_signal(
    logs: Path, capsys: pytest.CaptureFixture[str], trace: str, words: str
) -> None:
    pid = leave(logs, trace)
    serve._quit_if_killed({"kokoro-kokoro": SimpleNamespace(message="")})
    serve._quit_if_killed({"other": SimpleNamespace(message=FAILED)})
    with pytest.raises(SystemExit):
        serve._quit_if_killed({"kokoro-kokoro": SimpleNamespace(message=FAILED)})
    said = capsys.readouterr().err
    assert f"the graph did not start: its process 'kokoro-kokoro' (pid {pid})" in said
    assert words in said


def test_a_running_server_tells_of_each_crash_once(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pid = leave(logs, "*** SIGSEGV received at time=1 on cpu 1 ***\n")
    told: set[int] = set()
    for _ in range(3):
        serve._tell_of_crashes(told)
    assert capsys.readouterr().err.count(f"(pid {pid}) died of SIGSEGV") == 1
