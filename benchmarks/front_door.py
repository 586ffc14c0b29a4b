"""What a client waits for before any model works: the check of its key, the trace of its request, and the answer that
there is no room.

    python -m benchmarks.front_door --pairs 300

Starts a Ray of its own with a model that makes tones at once, so that what is left is the interface and the router.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import typer
from rich.console import Console

from serve_app.bench.machine import describe_machine, git_commit
from serve_app.keys.api_key import new_key
from serve_app.keys.key_file import KeyFile

TOYS = Path(__file__).parents[1] / "tests"  # whose models need no weights
BODY = {"input": "one two three", "response_format": "pcm"}
LONG = {"input": "slow " * 400, "response_format": "pcm"}  # 20 s
PLACES = 4
WARM_UP = 20
START_S = 180.0
ROUTED_S = 2.0  # after which the proxy knows of all applications


@dataclass(frozen=True)
class Times:
    """Of answers, in milliseconds."""

    count: int
    median_ms: float
    p95_ms: float
    most_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Times:
        found_ms = 1000 * np.sort(np.asarray(seconds))
        return cls(
            len(found_ms), *(round(float(np.quantile(found_ms, share)), 2) for share in (0.5, 0.95, 1))
        )


@contextmanager
def serving(keys: Path, collector: Collector) -> Iterator[str]:
    """Four applications of the same model below one address: open, keyed, keyed and traced, and small with PLACES
    places."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (Ray's own spelling; as `voicegraph serve` has it)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TOYS), os.environ.get("PYTHONPATH")]))
    sys.path.insert(0, str(TOYS))
    import ray  # noqa: PLC0415  (after the switches)
    from ray import serve  # noqa: PLC0415
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415

    from deployments.core.ray_internals import deploy  # noqa: PLC0415

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="vgb", ignore_cleanup_errors=True) as scratch:
        shared = {"models": {"toy": {"kind": "toys.tones"}}, "voices": {"url": f"{scratch}/voices"}}
        keyed: dict[str, object] = {"auth": {"keys_file": str(keys)}}
        small: dict[str, object] = {"limits": {"max_requests": PLACES}}
        applications = [
            {
                "name": name,
                "route_prefix": f"/{name}",
                "import_path": "serve_app.app:build",
                "args": {**shared, **own},
                "runtime_env": {"env_vars": variables},
            }
            for name, own, variables in (
                ("open", {}, {}),
                ("keyed", keyed, {}),
                ("traced", keyed, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}),
                ("small", small, {}),
            )
        ]
        ray.init(
            address="local",
            num_cpus=16,
            include_dashboard=False,
            object_store_memory=200 * 2**20,
            log_to_driver=False,
            _temp_dir=f"{scratch}/r",
        )
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            deploy(ServeDeploySchema.model_validate({"applications": applications}))
            _wait_until_they_run({str(each["name"]) for each in applications})
            yield f"http://127.0.0.1:{port}"
        finally:
            serve.shutdown()
            ray.shutdown()


def _wait_until_they_run(names: set[str]) -> None:
    from ray import serve  # noqa: PLC0415

    deadline = time.monotonic() + START_S
    while names - {name for name, each in serve.status().applications.items() if each.status == "RUNNING"}:
        if time.monotonic() > deadline:
            raise RuntimeError(f"not all of {sorted(names)} run after {START_S:g} s: {serve.status()}")
        time.sleep(0.5)
    time.sleep(ROUTED_S)


class Collector:
    """Takes traces by OTLP, and drops them."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


async def first_byte_s(client: httpx.AsyncClient, path: str, status: int = 200) -> float:
    """Seconds to the first byte of an answer, which is read to its end."""
    began_s = time.perf_counter()
    first_s: float | None = None
    async with client.stream("POST", f"{path}/v1/audio/speech", json=BODY) as answer:
        async for _ in answer.aiter_raw():
            first_s = first_s or time.perf_counter() - began_s
    if answer.status_code != status or first_s is None:
        raise RuntimeError(f"{path} answered {answer.status_code} instead of {status}")
    return first_s


async def in_turn(client: httpx.AsyncClient, rounds: int) -> dict[str, list[float]]:
    """Seconds to the first byte without keys, with them, and with keys and traces, in turn, in alternating order."""
    found: dict[str, list[float]] = {"/open": [], "/keyed": [], "/traced": []}
    for turn in range(WARM_UP + rounds):
        for path in found if turn % 2 else reversed(found):
            elapsed_s = await first_byte_s(client, path)
            if turn >= WARM_UP:
                found[path].append(elapsed_s)
    return found


async def refused(client: httpx.AsyncClient, count: int, at_once: int) -> list[float]:
    """Seconds until 429, while every place is taken."""
    async with AsyncExitStack() as held:
        heard = []  # an iterator that nobody holds closes its stream
        for _ in range(PLACES):
            answer = await held.enter_async_context(
                client.stream("POST", "/small/v1/audio/speech", json=LONG)
            )
            heard.append(answer.aiter_raw())
            await anext(heard[-1])
        turn = asyncio.Semaphore(at_once)

        async def one() -> float:
            async with turn:
                return await first_byte_s(client, "/small", 429)

        return await asyncio.gather(*(one() for _ in range(count)))


async def measure(url: str, key: str, pairs: int) -> dict[str, object]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits) as client:
        found = await in_turn(client, pairs)
        return {
            "first audio without keys": asdict(Times.of(found["/open"])),
            "first audio with keys": asdict(Times.of(found["/keyed"])),
            "first audio with keys and traces": asdict(Times.of(found["/traced"])),
            "keys cost, median of pairs (ms)": _median_more_ms(found["/keyed"], found["/open"]),
            "keys and traces cost, median of pairs (ms)": _median_more_ms(found["/traced"], found["/open"]),
            "429, one at a time": asdict(Times.of(await refused(client, pairs, 1))),
            "429, sixteen at a time": asdict(Times.of(await refused(client, pairs, 16))),
        }


def _median_more_ms(with_s: Sequence[float], without_s: Sequence[float]) -> float:
    return round(
        1000 * statistics.median(one - other for one, other in zip(with_s, without_s, strict=True)), 2
    )


def main(
    *,
    pairs: Annotated[int, typer.Option(min=10, help="Requests of each kind.")] = 300,
    output: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Measure what keys and traces cost, and how soon a full server says so."""
    with tempfile.TemporaryDirectory() as folder:
        file = KeyFile(Path(folder) / "keys.json")
        key, kept = new_key(
            "front door", requests_per_minute=1_000_000, streams=1000, characters_per_day=10**9
        )
        file.add(kept)
        with serving(file.path, Collector()) as url:
            found = asyncio.run(measure(url, key, pairs))
    Console(highlight=False).print_json(json.dumps(found))
    if output:
        report = {"commit": git_commit(), "machine": asdict(describe_machine()), **found}
        output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
