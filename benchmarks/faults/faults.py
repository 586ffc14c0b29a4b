"""What may happen to a server, and to which of its processes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from dataclasses import dataclass

import psutil

from benchmarks.faults.server import Server


@dataclass(frozen=True, slots=True)
class Fault:
    """`target`: the kind of process (Server.processes); `all_of_them`: not only one. `hang_s`: it is stopped for so
    long in place of being killed."""

    name: str
    target: str
    all_of_them: bool = False
    hang_s: float = 0.0

    async def happen(self, server: Server, chance: random.Random) -> int:
        """How many processes it befell."""
        found = server.processes().get(self.target, [])
        chosen = found if self.all_of_them or not found else [chance.choice(found)]
        for process in chosen:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGSTOP if self.hang_s else signal.SIGKILL)
        if self.hang_s:
            await asyncio.sleep(self.hang_s)
            for process in chosen:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)
        return len(chosen)


FAULTS = (
    Fault("one of two replicas of a stage is killed", "first"),
    Fault("both replicas of a stage are killed", "first", all_of_them=True),
    Fault("the only replica of a stage is killed", "second"),
    Fault("one of two replicas of a stage hangs for 5 s", "first", hang_s=5.0),
    Fault("one of two routers is killed", "Router"),
    Fault("both routers are killed", "Router", all_of_them=True),
    Fault("one of two ingresses is killed", "Ingress"),
    Fault("both ingresses are killed", "Ingress", all_of_them=True),
    Fault("the front proxy is killed", "haproxy", all_of_them=True),
    Fault("the process that keeps the front proxy is killed", "FrontProxy", all_of_them=True),
    Fault("Serve's own proxy is killed", "ProxyActor", all_of_them=True),
    Fault("Serve's controller is killed", "ServeController", all_of_them=True),
)
