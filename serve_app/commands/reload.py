"""`voicegraph serve --reload`: a running server takes its changed file, and no stream is cut."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console

from deployments.core.errors import Unavailable
from deployments.core.ray_internals import deploy
from serve_app.running import find_server

if TYPE_CHECKING:
    from serve_app.config_file import ConfigFile

POLL_S = 0.5
TIMEOUT_S = 900.0


def tell_to_reload(port: int | None) -> None:
    """Send SIGHUP to the server at `port`, or to the only one."""
    console = Console(stderr=True, highlight=False)
    try:
        server = find_server(port)
    except Unavailable as error:
        console.print(error.message, style="red", markup=False, soft_wrap=True)
        sys.exit(1)
    os.kill(server.pid, signal.SIGHUP)
    console.print(f"the server at port {server.port} reads its file again, and says there what comes of it")


def reloaded(running: ConfigFile, load: Callable[[], ConfigFile], console: Console) -> ConfigFile:
    """What is in force then: the changed file, or `running` where that cannot be."""
    from serve_app import config_file  # noqa: PLC0415  (imports Ray)

    try:
        changed = load()
    except Exception as error:  # whatever it is, the server goes on
        console.print(f"not reloaded: {error}", style="red", markup=False, soft_wrap=True)
        return running
    if missing := config_file.check_files(changed):
        told = "\n".join(missing)
        console.print(f"not reloaded: {told}", style="red", markup=False, soft_wrap=True)
        return running
    if changed.serve.http_options != running.serve.http_options:
        console.print("http_options change with the next start only", style="yellow")
    console.print("reloading; what is served goes on")
    deploy(config_file.deployable(changed))
    problem = _outcome(changed.serve.applications[0].name)
    if problem:
        console.print(f"the changed file did not start: {problem}", style="red", markup=False, soft_wrap=True)
    else:
        console.print(f"reloaded {changed.path}")
    return changed


def _outcome(application: str) -> str:
    """Empty once the graph runs as it is written; else why it does not."""
    from ray import serve  # noqa: PLC0415

    given_up_s = time.monotonic() + TIMEOUT_S
    time.sleep(POLL_S)  # in which Serve takes note of the file
    while time.monotonic() < given_up_s:
        found = serve.status().applications.get(application)
        if found is not None and found.status == "RUNNING":
            return ""
        if found is not None and found.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            return found.message
        time.sleep(POLL_S)
    return f"it was not ready after {TIMEOUT_S:.0f} s"
