"""POST /v1/audio/speech: how an answer ends when something goes wrong, or the client leaves."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import httpx
import pytest
from http_fakes import MODEL_RATE_HZ, FakeService, Wire, make_app, speech, tone
from speech_answers import FAST, MEDIA_TYPES, ask

from deployments.core.errors import DeadlineExceeded, Overloaded, Unavailable
from deployments.core.speech import AudioChunk, StreamEnd, StreamStart
from serve_app.config import LOCAL_ORIGINS, Limits
from serve_app.http.application import create_api

START = StreamStart("toy", "anna", MODEL_RATE_HZ, "test")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
@pytest.mark.parametrize("before", [[], [START]])
@pytest.mark.parametrize(
    ("make_error", "status", "kind", "retry"),
    [
        (partial(Overloaded, "full", retry_after_s=1.2), 429, "rate_limit_error", "2"),
        (partial(Unavailable, "full", retry_after_s=5), 503, "server_error", "5"),
        (partial(DeadlineExceeded, "full", retry_after_s=2), 504, "server_error", "2"),
    ],
)
async def test_an_error_before_the_first_audio_has_its_status(
    before: list[Any],
    make_error: partial[Unavailable],
    status: int,
    kind: str,
    retry: str | None,
    stream_format: str,
    stream: bool,
) -> None:
    service = FakeService([*before, make_error()])
    answer = await ask(service, stream_format=stream_format, stream=stream)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["type"] == kind
    assert answer.json()["error"]["message"] == "full"
    assert answer.headers.get("retry-after") == retry
    assert service.closed == 1


@pytest.mark.parametrize(
    "script",
    [[], [START], [AudioChunk(tone(0.1), 0), StreamEnd(0.1)], [START, START], [START, StreamEnd(0.0)]],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_stream_without_audio_is_an_error(script: list[Any], stream: bool) -> None:
    service = FakeService(script)
    answer = await ask(service, stream=stream)
    assert answer.status_code == 503
    assert service.closed == 1


@pytest.mark.parametrize("name", MEDIA_TYPES)
@pytest.mark.parametrize("end", [[Unavailable], [RuntimeError], []])
async def test_a_failure_after_the_first_byte_breaks_the_answer(
    name: str, end: list[type[Exception]]
) -> None:
    service = FakeService([*speech(2.0)[:4], *(kind("crashed") for kind in end)])
    wire = Wire(make_app(service), {"input": "Hello.", "response_format": name})
    with pytest.raises(Exception, match=r"crashed|internal error|the model stopped"):
        await wire.run()
    assert wire.messages[0]["status"] == 200
    assert wire.data
    assert not wire.ended_cleanly
    assert service.closed == 1


async def test_a_failure_in_a_buffered_answer_has_its_status() -> None:
    service = FakeService([*speech(2.0)[:4], Unavailable("crashed", retry_after_s=1)])
    answer = await ask(service, stream=False)
    assert answer.status_code == 503
    assert service.closed == 1


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
@pytest.mark.parametrize("leave_after", [0, 1, 2, 4])
@pytest.mark.usefixtures("no_errors_logged")
async def test_a_client_that_leaves_stops_the_service(
    leave_after: int, stream_format: str, spec_version: str
) -> None:
    script = [item for event in speech(8.0, 40) for item in (event, 0.002)]
    service = FakeService(script)
    body = {**FAST, "stream_format": stream_format}
    wire = Wire(make_app(service), body, leave_after, spec_version)
    await asyncio.wait_for(wire.run(), 5)
    assert service.closed == service.opened == 1
    assert not wire.ended_cleanly
    assert len(wire.data) <= leave_after + 2


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02, 0.05])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_cancelling_the_request_stops_the_service(
    after_s: float, stream: bool, stream_format: str
) -> None:
    """Ray Serve cancels the task of a request whose client has left."""
    script = [0.01, *(item for event in speech(8.0, 40) for item in (event, 0.004))]
    service = FakeService(script)
    wire = Wire(make_app(service), {**FAST, "stream": stream, "stream_format": stream_format})
    task = asyncio.create_task(wire.run())
    await asyncio.sleep(after_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.closed == service.opened
    assert not wire.ended_cleanly


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_cancelling_at_any_turn_of_the_loop_stops_the_service(stream: bool, stream_format: str) -> None:
    """Also between the first audio and the first byte, when nobody has asked the body for anything yet."""
    for turns in range(60):
        service = FakeService([0, *(item for event in speech(0.1, 20) for item in (event, 0))])
        body = {**FAST, "stream": stream, "stream_format": stream_format}
        task = asyncio.create_task(Wire(make_app(service), body).run())
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert service.closed == service.opened, f"cancelled after {turns} turns"
    assert turns > 10


async def test_a_page_can_read_the_answer_to_what_nobody_foresaw() -> None:
    app = create_api(FakeService([RuntimeError("a bug")]), Limits(), LOCAL_ORIGINS)
    origin = "http://localhost:3000"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post("/v1/audio/speech", json=FAST, headers={"Origin": origin})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, origin)
    assert answer.json()["error"]["type"] == "server_error"
