"""A graph on a cluster of processes, in a process of its own: the tests' own process has another cluster."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scaling.nodes import mortal

TESTS = Path(__file__).parents[1]
STOP_S = 60.0
REQUESTS_PER_MINUTE = 30  # of the key `few-requests`


@dataclass(frozen=True)
class NodesGraph:
    """`api_keys`: what clients send, by the keys' names, where it asks for one."""

    url: str
    process: subprocess.Popen[str]
    api_keys: Mapping[str, str] = field(default_factory=dict)

    def headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_keys[key]}"}

    def ask(self, command: str) -> Any:
        """See benchmarks/scaling/remote.py."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(command, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def replicas(self) -> dict[str, int]:
        found: dict[str, int] = self.ask("replicas")
        return found

    async def until(self, met: Callable[[Mapping[str, int]], bool], within_s: float) -> float:
        """Seconds until the numbers of replicas are as wanted."""
        began_s = time.monotonic()
        while not met(found := await asyncio.to_thread(self.replicas)):
            assert time.monotonic() - began_s < within_s, found
            await asyncio.sleep(0.3)
        return time.monotonic() - began_s


@contextmanager
def graph_on_nodes(config: Path, *labels: Mapping[str, str]) -> Iterator[NodesGraph]:
    """Serve a config file on one worker for each of `labels`."""
    paths = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "benchmarks.scaling.remote", str(config), *map(json.dumps, labels)]
    process = subprocess.Popen(
        mortal(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=TESTS.parent,
        env=environment,
    )
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        assert first, f"the graph did not start: status {process.wait()}"
        yield NodesGraph(json.loads(first)["url"], process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
