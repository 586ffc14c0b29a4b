"""Ports of one run alone: two servers on a machine would answer each other's requests on the fixed ones of Serve."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deployments.core.ray_internals import LOOPBACK

FIRST, LAST = 20_000, 30_000  # below those that the system gives to connections
BLOCK = 100


@dataclass(frozen=True, slots=True)
class OwnPorts:
    """A block of ports that no other run takes while `lock` is open. None of them listens to the network."""

    first: int
    lock: IO[str]

    @property
    def fallback_proxy(self) -> tuple[int, int]:
        """HTTP and gRPC of the proxy that Serve runs beside HAProxy."""
        return self.first, self.first + 1

    @property
    def statistics(self) -> tuple[int, int]:
        """HAProxy's metrics and its page of them."""
        return self.first + 2, self.first + 3

    @property
    def agents(self) -> tuple[int, int, int]:
        """Ray's helpers on this machine: metrics, HTTP, environments."""
        return self.first + 4, self.first + 5, self.first + 6

    @property
    def replicas(self) -> tuple[int, int]:
        """First and last of those to which HAProxy hands requests."""
        return self.first + 10, self.first + 54

    @property
    def grpc_replicas(self) -> tuple[int, int]:
        return self.first + 55, self.first + BLOCK - 1


def take_ports() -> OwnPorts:
    """The first block that no other run holds and in which nothing listens. Raises OSError if there is none."""
    folder = Path(tempfile.gettempdir()) / f"voicegraph-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for first in range(FIRST, LAST, BLOCK):
        lock = (folder / f"ports-{first}").open("w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        if all(refusal(LOOPBACK, port) is None for port in _probed(first)):
            return OwnPorts(first, lock)
        lock.close()
    raise OSError(f"no {BLOCK} ports in a row are free between {FIRST} and {LAST}")


def _probed(first: int) -> Iterator[int]:
    """Those that are taken without a further try if they are not free."""
    yield from range(first, first + 12)


def refusal(host: str, port: int) -> OSError | None:
    """Why nothing could listen there now; None if it could."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
        return None


def any_port() -> int:
    """One that nothing listens at now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
