"""Processes that died of a signal, by what they left in Ray's logs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ray.exceptions import RayActorError

from deployments.core.deaths import crashes, dead_replicas, death_behind, death_of, signal_name

TRACE = """*** {name} received at time=1796023010 on cpu 1 ***
PC: @     0x7f62ae326f36  (unknown)  {place}
    @     0x7f62ae25a050  (unknown)  (unknown)
[2026-11-30 07:16:50,298 E 24082 24082] logging.cc:474: *** {name} received at time=1796023010 on cpu 1 ***
"""


@pytest.fixture
def gone() -> int:
    """The pid of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def log(directory: Path, pid: int, actor: str, trace: str = "") -> Path:
    path = directory / f"worker-ab12-01000000-{pid}.err"
    path.write_text(f":job_id:01000000\n:actor_name:{actor}\nloading\n{trace}", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "place", "advice"),
    [
        ("SIGSEGV", "ggml_vec_dot", "native library crashed"),
        ("SIGILL", "(unknown)", "instruction that this processor does not have"),
        ("SIGBUS", "memcpy", "/dev/shm is full"),
        ("SIGABRT", "raise", "native library crashed"),
    ],
)
def test_a_signal_that_left_a_trace(tmp_path: Path, gone: int, name: str, place: str, advice: str) -> None:
    path = log(tmp_path, gone, "ServeReplica:default:kokoro-kokoro", TRACE.format(name=name, place=place))
    death = death_of(gone, tmp_path)
    assert death is not None
    where = "" if place == "(unknown)" else f" in {place}"
    assert str(death) == f"its process 'kokoro-kokoro' (pid {gone}) died of {name}{where}"
    assert advice in death.advice
    assert str(path) in death.advice
    assert dead_replicas("kokoro-kokoro", tmp_path) == crashes(tmp_path) == [death]
    assert dead_replicas("other", tmp_path) == []


def test_a_process_that_was_killed_leaves_none(tmp_path: Path, gone: int) -> None:
    ended = TRACE.format(name="SIGTERM", place="recv")
    log(tmp_path, gone, "ServeReplica:default:kokoro-kokoro", ended)
    death = death_of(gone, tmp_path)
    assert death is not None
    assert death.signal == "SIGKILL"
    assert "memory ran out" in death.advice
    assert crashes(tmp_path) == [], "it may have been asked to end"


def test_the_living_have_not_died(tmp_path: Path) -> None:
    log(tmp_path, os.getpid(), "ServeReplica:default:kokoro-kokoro")
    assert death_of(os.getpid(), tmp_path) is None
    assert dead_replicas("kokoro-kokoro", tmp_path) == []


def test_a_child_that_nobody_has_waited_for_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        log(tmp_path, child.pid, "ServeController")
        assert death_of(child.pid, tmp_path) is None
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert death_of(child.pid, tmp_path) is not None


def test_what_ray_says_of_a_lost_actor_leads_to_its_log(tmp_path: Path, gone: int) -> None:
    log(tmp_path, gone, "ServeReplica:default:stage", TRACE.format(name="SIGSEGV", place="f"))
    error = RayActorError(error_msg=f"The actor died unexpectedly.\n\tactor_id: 1\n\tpid: {gone}\n\tname: x")
    assert str(death_behind(error, tmp_path)).endswith("died of SIGSEGV in f")
    assert death_behind(RayActorError(error_msg="elsewhere"), tmp_path) is None
    assert death_behind(RayActorError(error_msg=f"\n\tpid: {gone}"), tmp_path / "none") is None


def test_children_name_their_signal() -> None:
    child = subprocess.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"], check=False)
    assert signal_name(child.returncode) == "SIGSEGV"
    assert signal_name(-9) == "SIGKILL"
    assert (signal_name(0), signal_name(3), signal_name(-200)) == (None, None, "signal 200")
