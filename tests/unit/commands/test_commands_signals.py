"""Ctrl-C is heard at any time: once to end in good order, twice to end at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]
SERVER = """
import subprocess, sys, time
from serve_app.commands.signals import Signals

signals = Signals()
with signals.heard(lambda: print("cleaned up", flush=True)):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(child.pid, flush=True)
    if sys.argv[1] == "starting":
        time.sleep(600)  # as Ray's start, which hears nothing
    signals.started()
    print("ready", flush=True)
    while True:
        signals.changed.wait()
        signals.changed.clear()
        print("stopping" if signals.stopping.is_set() else "reload", flush=True)
"""


class Server:
    def __init__(self, state: str) -> None:
        # As in a terminal: what a script starts in the background has SIGINT ignored.
        command = ["env", "--default-signal=INT", sys.executable, "-c", SERVER, state]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.child = psutil.Process(int(self.line()))
        if state == "serving":
            assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        assert self.process.wait(20) == 130
        assert self.line() == "cleaned up"
        gone = time.monotonic() + 10
        while self.child.is_running() and self.child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < gone
            time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_during_a_start_the_first_ends_everything(number: signal.Signals) -> None:
    server = Server("starting")
    server.process.send_signal(number)
    server.end()


def test_the_first_lets_things_end_and_the_second_does_not() -> None:
    server = Server("serving")
    server.process.send_signal(signal.SIGHUP)
    assert server.line() == "reload"
    server.process.send_signal(signal.SIGTERM)
    assert server.line() == "stopping"
    assert server.child.is_running()
    server.process.send_signal(signal.SIGINT)
    server.end()
