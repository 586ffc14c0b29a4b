"""What a client waits for before any model works: the check of its key, the trace of its request, and the answer that
there is no room.

    python -m benchmarks.front_door --pairs 300

Starts servers with a model that makes tones at once, so that what is left is the interface and the router.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import typer
from rich.console import Console

from benchmarks.faults.server import running_server
from serve_app.bench.machine import describe_machine, git_commit
from serve_app.keys.api_key import new_key
from serve_app.keys.key_file import KeyFile

SERVE = {
    "proxy_location": "EveryNode",
    "http_options": {"host": "127.0.0.1", "port": 8000, "request_timeout_s": 300},
}
APPLICATION = {"name": "voicegraph", "route_prefix": "/", "import_path": "serve_app.app:build"}
BODY = {"input": "one two three", "response_format": "pcm"}
LONG = {"input": "slow " * 400, "response_format": "pcm"}  # 20 s
PLACES = 4
WARM_UP = 20


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


@dataclass(frozen=True)
class Urls:
    """Of servers with the same model: one that asks for nothing, one with keys, one with keys and traces, and one with
    PLACES places."""

    open: str
    keyed: str
    traced: str
    small: str


@contextmanager
def serving(keys: Path, collector: Collector) -> Iterator[Urls]:
    keyed: dict[str, object] = {"auth": {"keys_file": str(keys)}}
    traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:

        def start(name: str, own: dict[str, object], variables: dict[str, str] | None = None) -> str:
            shared = {"models": {"toy": {"kind": "toys.tones"}}, "voices": {"url": f"{folder}/{name}/voices"}}
            config = Path(folder) / f"{name}.json"  # which is YAML, too
            config.write_text(
                json.dumps({**SERVE, "applications": [{**APPLICATION, "args": {**shared, **own}}]})
            )
            return servers.enter_context(running_server(config, variables)).url

        yield Urls(
            start("open", {}),
            start("keyed", keyed),
            start("traced", keyed, traces),
            start("small", {"limits": {"max_requests": PLACES}}),
        )


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


async def first_byte_s(client: httpx.AsyncClient, url: str, status: int = 200) -> float:
    """Seconds to the first byte of an answer, which is read to its end."""
    began_s = time.perf_counter()
    first_s: float | None = None
    async with client.stream("POST", f"{url}/v1/audio/speech", json=BODY) as answer:
        async for _ in answer.aiter_raw():
            first_s = first_s or time.perf_counter() - began_s
    if answer.status_code != status or first_s is None:
        raise RuntimeError(f"{url} answered {answer.status_code} instead of {status}")
    return first_s


async def in_turn(client: httpx.AsyncClient, urls: Sequence[str], rounds: int) -> list[list[float]]:
    """Seconds to the first byte from each of `urls`, in turn, in alternating order."""
    found: list[list[float]] = [[] for _ in urls]
    servers = list(zip(urls, found, strict=True))
    for turn in range(WARM_UP + rounds):
        for url, times_s in servers if turn % 2 else reversed(servers):
            elapsed_s = await first_byte_s(client, url)
            if turn >= WARM_UP:
                times_s.append(elapsed_s)
    return found


async def refused(client: httpx.AsyncClient, url: str, count: int, at_once: int) -> list[float]:
    """Seconds until 429, while every place is taken."""
    async with AsyncExitStack() as held:
        heard = []  # an iterator that nobody holds closes its stream
        for _ in range(PLACES):
            answer = await held.enter_async_context(
                client.stream("POST", f"{url}/v1/audio/speech", json=LONG)
            )
            heard.append(answer.aiter_raw())
            await anext(heard[-1])
        turn = asyncio.Semaphore(at_once)

        async def one() -> float:
            async with turn:
                return await first_byte_s(client, url, 429)

        return await asyncio.gather(*(one() for _ in range(count)))


async def measure(urls: Urls, key: str, pairs: int) -> dict[str, object]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=headers, timeout=60, limits=limits) as client:
        plain, keyed, traced = await in_turn(client, (urls.open, urls.keyed, urls.traced), pairs)
        return {
            "first audio without keys": asdict(Times.of(plain)),
            "first audio with keys": asdict(Times.of(keyed)),
            "first audio with keys and traces": asdict(Times.of(traced)),
            "keys cost, median of pairs (ms)": _median_more_ms(keyed, plain),
            "keys and traces cost, median of pairs (ms)": _median_more_ms(traced, plain),
            "429, one at a time": asdict(Times.of(await refused(client, urls.small, pairs, 1))),
            "429, sixteen at a time": asdict(Times.of(await refused(client, urls.small, pairs, 16))),
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
        with serving(file.path, Collector()) as urls:
            found = asyncio.run(measure(urls, key, pairs))
    Console(highlight=False).print_json(json.dumps(found))
    if output:
        report = {"commit": git_commit(), "machine": asdict(describe_machine()), **found}
        output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
