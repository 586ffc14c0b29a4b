"""A real Ray cluster of processes of this machine: a head that serves nothing, and workers with labels."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from serve_app.commands.own_ports import any_port

START_S = 90.0  # a node, on a busy machine
STOP_S = 10.0
STORE_BYTES = 120 * 2**20
IP = "127.0.0.1"
# Decisions within seconds, where production takes its time; everything else as in production.
QUICK = {
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
}
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A node that is ended does not wait for streams that a test has left behind.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}


@dataclass(frozen=True, slots=True)
class Worker:
    """A node to be. CPUs and GPUs are of nothing but the count by which Ray places replicas."""

    labels: Mapping[str, str] = field(default_factory=dict)
    cpus: int = 16
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """`folder`: for what it writes, while the cluster runs."""

    process: subprocess.Popen[bytes]
    folder: Path

    def processes(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def kill(self) -> None:
        """The node dies, with all its processes, as a machine that loses its power."""
        _kill(self.processes())
        self.process.wait()


@dataclass(frozen=True, slots=True)
class ProcessCluster:
    """`address`: what `ray.init` takes. `nodes`: the workers in the order in which they were asked for. `new_head`
    starts another one at the same address, where the first has ended."""

    address: str
    head: Node
    nodes: Sequence[Node]
    new_head: Callable[[], Node]


@contextmanager
def process_cluster(
    workers: Sequence[Worker], *, quick: bool = True, redis: str | None = None
) -> Iterator[ProcessCluster]:
    """Start the nodes; all is ended again. `quick`: metrics travel every half second instead of every ten. `redis`:
    the address of the one that keeps the cluster's state when the head dies.

    This process gets the environment that a driver of the cluster needs, and no other; call it before Ray is imported.
    """
    for name in [each for each in os.environ if each.startswith("RAY_")]:
        del os.environ[name]  # of another cluster, whose process started this one
    os.environ.update(ENVIRONMENT | (QUICK if quick else {}))
    started: list[Node] = []
    with tempfile.TemporaryDirectory(prefix="vgn", ignore_cleanup_errors=True) as directory:
        port = any_port()
        address = f"{IP}:{port}"

        def start(name: str, *options: str, variables: Mapping[str, str] | None = None) -> Node:
            folder = Path(tempfile.mkdtemp(prefix=name, dir=directory))
            started.append(_start(folder, options, variables or {}))
            return started[-1]

        def start_head() -> Node:
            options = (
                "--head",
                f"--port={port}",
                "--num-cpus=0",
                "--num-gpus=0",
                "--include-dashboard=false",
            )
            state = {"RAY_REDIS_ADDRESS": redis, "RAY_external_storage_namespace": "vg"} if redis else {}
            node = start("head", *options, variables=state)
            _wait_for(port, node)
            return node

        try:
            head = start_head()
            for number, worker in enumerate(workers):
                labels = ",".join(f"{key}={value}" for key, value in worker.labels.items())
                options = [f"--address={address}", f"--num-cpus={worker.cpus}", f"--num-gpus={worker.gpus}"]
                start(f"w{number}", *options, *([f"--labels={labels}"] if labels else ()))
            yield ProcessCluster(address, head, started[1:], start_head)
        finally:
            _stop(started)


def _stop(nodes: Sequence[Node]) -> None:
    """All at once; what has not ended after STOP_S is killed."""
    processes = [process for node in nodes for process in node.processes()]
    for node in nodes:
        node.process.terminate()
    until_s = time.monotonic() + STOP_S
    for node in nodes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.process.wait(max(0.0, until_s - time.monotonic()))
    _kill(processes)
    for node in nodes:
        node.process.wait()


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _start(folder: Path, options: Sequence[str], variables: Mapping[str, str]) -> Node:
    """In a session of its own, so that its processes can be ended together, and nobody else's."""
    log = (folder / "log").open("wb")
    command = [str(Path(sys.executable).parent / "ray"), "start", "--block", f"--node-ip-address={IP}"]
    command += [f"--temp-dir={folder}", f"--object-store-memory={STORE_BYTES}", *options]
    environment = {**os.environ, **variables}
    with log:
        process = subprocess.Popen(
            mortal(command), stdout=log, stderr=log, start_new_session=True, env=environment
        )
    return Node(process, folder)


def mortal(command: Sequence[str]) -> list[str]:
    """The command, to end with the thread that starts it: else a run that is killed leaves a cluster behind."""
    setpriv = shutil.which("setpriv")
    return [*([setpriv, "--pdeathsig", "TERM"] if setpriv else ()), *command]


def _wait_for(port: int, head: Node) -> None:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        if head.process.poll() is not None:
            raise RuntimeError(f"the head ended with status {head.process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection((IP, port), timeout=1):
            return
        time.sleep(0.2)
    raise TimeoutError(f"the head did not listen within {START_S:.0f} s")
