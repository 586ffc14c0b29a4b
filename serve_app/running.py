"""Servers that run on this machine: `voicegraph serve` leaves a note of where its Ray is, and `connect()` reads it.

A note is `<temporary folder>/voicegraph-<user>/<HTTP port>.json`, so that several servers are told apart. Its server
holds a lock on it, which the kernel gives up with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from deployments.core.command_line import start
from deployments.core.errors import Unavailable
from deployments.core.ray_internals import join


@dataclass(frozen=True, slots=True)
class RunningServer:
    """`ray_address`: host:port of the cluster's control plane. `application`: the name of the graph in Serve. `pid`: of
    `voicegraph serve`."""

    port: int
    ray_address: str
    application: str
    pid: int = 0


@contextmanager
def announced(server: RunningServer) -> Iterator[None]:
    """The note lies there meanwhile. Where it cannot be written `connect()` needs the address; nothing else fails."""
    path = _folder() / f"{server.port}.json"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        note = path.open("a+", encoding="utf-8")
    except OSError:
        yield
        return
    with note:
        fcntl.flock(note, fcntl.LOCK_EX)  # whoever has it looks whether a dead server left this note
        note.truncate(0)
        json.dump(asdict(server), note)
        note.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def running_servers() -> list[RunningServer]:
    """By port. Notes of servers that died are removed."""
    folder = _folder()
    # Joining a cluster runs what it sends: a note that somebody else may have written is not to be believed.
    with contextlib.suppress(OSError):
        state = folder.stat()
        if state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) & 0o022:
            return []
    notes = sorted(folder.glob("*.json"), key=lambda path: (len(path.name), path.name))
    return [server for path in notes if (server := _read(path)) is not None]


def find_server(port: int | None = None) -> RunningServer:
    """The one at `port`, or the only one. Raises Unavailable, with what to do, if there is none or more than one."""
    servers = running_servers()
    wanted = [server for server in servers if port in (None, server.port)]
    if len(wanted) == 1:
        return wanted[0]
    ports = ", ".join(str(server.port) for server in servers)
    if wanted:
        raise Unavailable(f"servers run at the ports {ports}; choose one: connect(port={servers[0].port})")
    there = f"; there are some at the ports {ports}" if servers else ""
    at = f" at port {port}" if port is not None else ""
    raise Unavailable(
        f"no Voicegraph server of yours runs on this machine{at}{there}. Start one with `{start()}`, "
        "or name the Ray cluster that it runs in: connect(address=…)"
    )


def join_cluster(address: str | None = None, port: int | None = None) -> str | None:
    """Make this process part of a server's Ray cluster, unless it is part of one; the name of the graph if the server
    left it. Raises Unavailable if there is no such server, or nobody at `address`."""
    import ray  # noqa: PLC0415  (takes a second)

    if ray.is_initialized() and address is None and port is None:
        return None
    application = None
    address = address or (None if port else os.environ.get("RAY_ADDRESS"))
    if address is None:
        server = find_server(port)
        address, application = server.ray_address, server.application
    if ray.is_initialized():
        if ray.get_runtime_context().gcs_address == address:
            return application
        raise Unavailable(
            "this process is part of another Ray cluster already; one process can speak with one"
        )
    try:
        join(address)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise Unavailable(f"the Ray cluster at {address} cannot be joined: {error}") from error
    return application


def _folder() -> Path:
    return Path(tempfile.gettempdir()) / f"voicegraph-{os.getuid()}"


def _read(path: Path) -> RunningServer | None:
    try:
        with path.open(encoding="utf-8") as note:
            try:
                fcntl.flock(note, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return RunningServer(**json.load(note))
            path.unlink(missing_ok=True)
    except (OSError, ValueError, TypeError):
        pass
    return None
