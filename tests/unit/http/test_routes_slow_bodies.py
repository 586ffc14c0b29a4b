"""A body that arrives a byte at a time is not waited for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from http_fakes import FakeService, Wire, make_app
from ray.exceptions import TaskCancelledError

from serve_app.config import Limits
from serve_app.http import limits as limits_module

SPEECH = "/v1/audio/speech"
GOOD = json.dumps({"input": "Hello.", "model": "toy", "voice": "anna", "response_format": "pcm"}).encode()
HASTY = Limits(body_timeout_s=0.3)
pytestmark = pytest.mark.usefixtures("no_errors_logged")


def client_of(service: FakeService) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(make_app(service, HASTY)), base_url="http://test")


async def dripped(body: bytes, pause_s: float, size: int = 1) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        await asyncio.sleep(pause_s)
        yield body[at : at + size]


@pytest.mark.parametrize("path", [SPEECH, f"{SPEECH}/batch"])
@pytest.mark.parametrize("packed", [{}, {"content-encoding": "gzip"}])
async def test_a_slow_body_is_refused(service: FakeService, path: str, packed: dict[str, str]) -> None:
    began_s = time.monotonic()
    async with client_of(service) as client:
        answer = await client.post(
            path, content=dripped(GOOD * 5, 0.02), headers={"content-type": "application/json", **packed}
        )
    assert answer.status_code == 408
    assert answer.json()["error"]["code"] == "request_timeout"
    assert answer.headers["connection"] == "close"
    assert time.monotonic() - began_s < 3
    assert not service.requests


@pytest.mark.parametrize("sent", [10, len(GOOD)], ids=["within its body", "after it"])
async def test_a_proxy_that_breaks_off_says_that_the_client_has_left(service: FakeService, sent: int) -> None:
    parts: list[Any] = [{"type": "http.request", "body": GOOD[:sent], "more_body": sent < len(GOOD)}]

    async def receive() -> Any:
        if parts:
            return parts.pop()
        raise TaskCancelledError

    async def send(message: Any) -> None:
        await asyncio.sleep(0.01)

    headers = [(b"content-type", b"application/json")]
    scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "method": "POST", "path": SPEECH}
    scope |= {"query_string": b"", "headers": headers}
    await make_app(service, HASTY)(scope, receive, send)
    assert len(service.requests) == (sent == len(GOOD))


async def test_so_is_a_slow_upload(service: FakeService) -> None:
    async def form() -> AsyncIterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="audio_sample"; filename="a.wav"\r\n\r\n'
        async for part in dripped(b"a" * 10_000, 0.02):
            yield part

    async with client_of(service) as client:
        answer = await client.post(
            "/v1/audio/voices", content=form(), headers={"content-type": "multipart/form-data; boundary=x"}
        )
    assert answer.status_code == 408


async def test_a_large_body_may_take_longer_where_it_keeps_coming(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "LEAST_BYTES_PER_S", 1_000)
    async with client_of(service) as client:
        slow = dripped(GOOD + b" " * 5_000, 0.05, size=200)
        answer = await client.post(SPEECH, content=slow, headers={"content-type": "application/json"})
    assert answer.status_code == 200


async def test_an_answer_may_take_longer_than_a_body(service: FakeService) -> None:
    service.script = [0.6, *service.script]
    async with client_of(service) as client:
        assert (await client.post(SPEECH, content=GOOD)).status_code == 200


async def test_a_client_that_says_nothing_at_all(service: FakeService) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    app = make_app(service, HASTY)
    await asyncio.wait_for(app(Wire(app, {}).scope, asyncio.Event().wait, send), 5)  # type: ignore[arg-type]
    assert sent[0]["status"] == 408
