"""A cluster whose state lies in a Redis loses its head and gets another one, while people listen.

    python -m benchmarks.scaling.head_loss          needs redis-server (Debian: redis-server)

The cluster is one of processes of this machine; stages compute nothing. What is counted are streams that were open when
the head died, requests while there was none, and how soon a replica that dies is replaced once there is a head again.
Clients come in by the workers, as those of Kubernetes do: a stream through the head's own proxy dies with it, and what
the same ingress has open stands still until there is a head again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import psutil
import typer

from benchmarks.scaling.nodes import IP, Node, ProcessCluster, Worker, mortal, process_cluster
from benchmarks.scaling.serving import deployed, join, kill_replica, running_replicas
from serve_app.commands.own_ports import any_port

CONFIG = Path(__file__).with_name("head_loss.yaml")
APPLICATION, STAGE = "voicegraph", "talker-talker"
WORKERS = (Worker({"node": "a"}), Worker({"node": "b"}))
STREAMS = 8
WORDS = 100  # 20 s of a stream
BEFORE_S = 2.0
HEADLESS_S = 8.0
BACK_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Report:
    """`known_again_s`: from the start of the new head until it says that all runs; `replaced_s`: from a replica's death
    then to the next one."""

    streams: int
    whole: int
    asked_without_head: int
    answered_without_head: int
    known_again_s: float
    replaced_s: float


@contextmanager
def redis() -> Iterator[str]:
    """The address of one that keeps nothing on disk."""
    port = any_port()
    options = ["--port", str(port), "--bind", IP, "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(mortal(["redis-server", *options]), stdout=subprocess.DEVNULL)
    try:
        yield f"{IP}:{port}"
    finally:
        process.kill()
        process.wait()


async def listen(http: httpx.AsyncClient, words: int) -> bool:
    """Whether a stream came to its end."""
    body = {"input": "one " * words, "response_format": "pcm"}
    with contextlib.suppress(httpx.HTTPError):
        async with http.stream("POST", "/v1/audio/speech", json=body) as answer:
            async for _ in answer.aiter_raw():
                pass
            return answer.status_code == httpx.codes.OK
    return False


async def client_of_a_worker(head: Node, url: str, port: int) -> httpx.AsyncClient:
    """With one connection, which the kernel has not given to the head: all proxies listen at the same port."""
    while True:
        http = httpx.AsyncClient(base_url=url, timeout=30)
        await http.get("/livez")
        if not await asyncio.to_thread(_clients, head, port):
            return http
        await http.aclose()


def _clients(node: Node, port: int) -> int:
    """Connections at the node's proxy."""
    found: list[Any] = []
    for process in node.processes():
        with contextlib.suppress(psutil.Error):
            found += process.net_connections("tcp")
    return sum(each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED for each in found)


async def lose_head(cluster: ProcessCluster, port: int) -> tuple[list[bool], list[bool]]:
    """Of streams, and of the requests without a head, whether each came to its end."""
    url = f"http://{IP}:{port}"
    clients = [await client_of_a_worker(cluster.head, url, port) for _ in range(STREAMS)]
    streams = [asyncio.create_task(listen(http, WORDS)) for http in clients]
    await asyncio.sleep(BEFORE_S)
    await asyncio.to_thread(cluster.head.kill)
    answered = []
    until_s = time.monotonic() + HEADLESS_S
    while time.monotonic() < until_s:
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            answered.append(await listen(http, 2))
    found = list(await asyncio.gather(*streams))
    for http in clients:
        await http.aclose()
    return found, answered


def deploy(address: str, port: int) -> None:
    """In a process of its own: one that belongs to the cluster dies with its head."""
    join(address, len(WORKERS) + 1)
    deployed(CONFIG, port)


def heal(address: str, started_s: float, path: str) -> None:
    """Wait until the new head knows of all replicas, kill one, and wait again; the seconds go to a file as JSON. In a
    process of its own, as `deploy`."""
    join(address, len(WORKERS) + 1)
    _wait_for_all()
    known_again_s = time.monotonic() - started_s
    killed_s = time.monotonic()
    kill_replica(APPLICATION, STAGE)
    while _all_run():
        time.sleep(0.02)
    _wait_for_all()
    Path(path).write_text(json.dumps([known_again_s, time.monotonic() - killed_s]), encoding="utf-8")


def _wait_for_all() -> None:
    until_s = time.monotonic() + BACK_WITHIN_S
    while not _all_run():
        if time.monotonic() > until_s:
            raise TimeoutError(f"after {BACK_WITHIN_S:g} s these run: {running_replicas(APPLICATION)}")
        time.sleep(0.1)


def _all_run() -> bool:
    return set(running_replicas(APPLICATION).values()) == {len(WORKERS)}


def apart(target: Callable[..., None], *arguments: object) -> None:
    """Raises RuntimeError where it failed."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{target.__name__} failed; what it said is above")


def measure() -> Report:
    port = any_port()
    with redis() as state, process_cluster(WORKERS, redis=state) as cluster:
        apart(deploy, cluster.address, port)
        streams, answered = asyncio.run(lose_head(cluster, port))
        started_s = time.monotonic()
        folder = cluster.new_head().folder
        apart(heal, cluster.address, started_s, str(folder / "seconds.json"))
        known_again_s, replaced_s = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
    return Report(len(streams), sum(streams), len(answered), sum(answered), known_again_s, replaced_s)


def main(
    output: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Kill the head of a cluster while people listen, and start another."""
    found = asdict(measure())
    print(json.dumps(found, indent=2))
    if output:
        output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
