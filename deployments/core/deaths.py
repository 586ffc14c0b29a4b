"""Processes that died of a signal, which leave no exception behind: what Ray's logs tell of them."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deployments.core.ray_internals import pid_of_actor

_PID = re.compile(r"\bpid: (\d+)")
_LOG = re.compile(r"worker-.*-(\d+)\.err")
_ACTOR = re.compile(r"^:actor_name:(?:ServeReplica:[^:\n]*:)?(.+)$", re.MULTILINE)
# Ray's handler writes this where a process is told the signal; one that is killed can write nothing.
_SIGNAL = re.compile(r"^\*\*\* (SIG[A-Z]+) received", re.MULTILINE)
_PLACE = re.compile(r"^PC: @ +0x[0-9a-f]+ +\S+ +(\S+)", re.MULTILINE)
_ORDERLY = ("SIGTERM", "SIGINT")
_ADVICE = {
    "SIGKILL": "Most often the system did that because memory ran out (`dmesg` says so): serve fewer models or "
    "replicas, or give the machine more memory.",
    "SIGILL": "A library uses an instruction that this processor does not have: install a build of it for this "
    "processor, or use another machine.",
    "SIGBUS": "Most often a disk or /dev/shm is full, or a file was changed while it was mapped.",
}
_CRASH = (
    "A native library crashed; the trace names it. Install the dependencies afresh; if that does not help, send the "
    "trace with a report."
)
ENDS_WITHIN_S = 0.05  # of the loss of its connections
MOST_BYTES = 1 << 20  # of a log that are read


@dataclass(frozen=True, slots=True)
class Death:
    """`process`: the name of the stage, or of Serve's own actor. `place`: the function, where it is known."""

    process: str
    pid: int
    signal: str
    place: str = ""
    log: Path | None = None  # with the trace

    def __str__(self) -> str:
        """For a client, who cannot look into this machine."""
        who, place = (
            f"its process {self.process!r} (pid {self.pid})",
            f" in {self.place}" if self.place else "",
        )
        if self.signal == "SIGKILL":
            return f"{who} ended without a trace, as one does that is killed (SIGKILL)"
        return f"{who} died of {self.signal}{place}"

    @property
    def advice(self) -> str:
        """For whoever runs the server."""
        trace = f" The trace is in {self.log}." if self.log else ""
        return _ADVICE.get(self.signal, _CRASH) + trace


def death_behind(error: Exception, logs: Path) -> Death | None:
    """How the process died whose loss `error` reports; None where that cannot be told, as of another machine's."""
    found = _PID.search(str(error))
    actor_id = getattr(error, "actor_id", None)
    pid = int(found[1]) if found else pid_of_actor(actor_id) if isinstance(actor_id, str) else None
    return death_of(pid, logs) if pid else None


def death_of(pid: int, logs: Path) -> Death | None:
    """Of a process whose connection broke without its being asked to end; `logs` is the folder of Ray's session."""
    path = next(logs.glob(f"worker-*-{pid}.err"), None)
    if path is None:
        return None
    given_up_s = time.monotonic() + ENDS_WITHIN_S
    while _lives(pid):  # its connections are closed first
        if time.monotonic() > given_up_s:
            return None
        time.sleep(0.002)
    return _read(path, pid)


def dead_replicas(stage: str, logs: Path) -> list[Death]:
    """Of a deployment that is known to have lost replicas, the latest first."""
    return [death for death in _latest(logs) if death.process == stage]


def crashes(logs: Path) -> list[Death]:
    """All processes that died of a signal that they could tell of; one that is killed cannot."""
    return [death for death in _latest(logs) if death.log is not None]


def signal_name(returncode: int) -> str | None:
    """Of a child of this process that ended with `returncode`; None where it ended by itself."""
    if returncode >= 0:
        return None
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def _latest(logs: Path) -> Iterator[Death]:
    for path in sorted(logs.glob("worker-*.err"), key=lambda path: path.stat().st_mtime, reverse=True):
        pid = int(found[1]) if (found := _LOG.fullmatch(path.name)) else 0
        if pid and not _lives(pid):
            yield _read(path, pid)


def _read(path: Path, pid: int) -> Death:
    with path.open("rb") as file:
        text = file.read(MOST_BYTES).decode("utf-8", "replace")
    actor = _ACTOR.search(text)
    process = actor[1].strip() if actor else "a worker"
    told = [found for found in _SIGNAL.finditer(text) if found[1] not in _ORDERLY]
    if not told:
        return Death(process, pid, "SIGKILL")
    place = _PLACE.search(text, told[-1].start())
    return Death(process, pid, told[-1][1], place[1] if place and place[1] != "(unknown)" else "", path)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] == "Z"
