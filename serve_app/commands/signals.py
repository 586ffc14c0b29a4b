"""Ctrl-C, SIGTERM and SIGHUP of a server, heard at any time: also while Ray's start holds the main thread."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

STOP = {signal.SIGINT, signal.SIGTERM}
INTERRUPTED = 130  # the status of a shell's command that Ctrl-C ended


class Signals:
    """The first signal to stop sets `stopping`, the second ends this process and all that it started, at once. During
    a start, when nobody is served yet, so does the first.

    All threads and processes that begin within `heard` have the signals blocked: a terminal sends Ctrl-C to the whole
    group, and Ray's own processes would end in any order.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.reload = threading.Event()
        self.changed = threading.Event()  # one of the two
        self._starting = True

    @contextmanager
    def heard(self, clean_up: Callable[[], None] = lambda: None) -> Iterator[None]:
        """For the main thread. `clean_up` is called before an end at once."""
        held = {*STOP, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, held)
        listener = threading.Thread(target=self._listen, args=(held, clean_up), name="signals", daemon=True)
        listener.start()
        yield

    def started(self) -> None:
        """From now on the first signal lets what runs come to its end."""
        self._starting = False

    def _listen(self, held: set[signal.Signals], clean_up: Callable[[], None]) -> None:
        while True:
            number = signal.sigwait(held)
            if number == signal.SIGHUP and _has_terminal():
                self.reload.set()
            elif self._starting or self.stopping.is_set():
                clean_up()
                end_family()
                os._exit(INTERRUPTED)
            else:
                self.stopping.set()
            self.changed.set()


def end_family() -> None:
    """Kill what this process started, and what that started."""
    family = psutil.Process().children(recursive=True)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=5)


def _has_terminal() -> bool:
    """False where SIGHUP says that the terminal, in which the server runs, was closed."""
    if not os.isatty(2):
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
