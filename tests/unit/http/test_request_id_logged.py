"""Lines that the ingress logs about a request name it."""

from __future__ import annotations

from typing import Any

import httpx
from http_fakes import FakeService, make_app, make_client, speech
from session_client import talking
from speaker_fake import SMALL, Speaker

HEADERS = {"x-request-id": "the-id"}


async def test_a_stream_that_fails(logged: list[str]) -> None:
    service = FakeService([*speech(1.0)[:3], RuntimeError("a bug")])
    body = {"input": "Hello.", "stream_format": "sse", "response_format": "pcm"}
    async with make_client(service) as client:
        await client.post("/v1/audio/speech", json=body, headers=HEADERS)
    assert logged == ["a speech stream failed [request the-id]"]
    assert service.requests[0].request_id == "the-id"


async def test_a_request_that_fails(logged: list[str]) -> None:
    app = make_app(FakeService([RuntimeError("a bug")]))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/v1/audio/speech", json={"input": "Hello."}, headers=HEADERS)
    assert answer.status_code == 500
    assert "bug" not in answer.text
    assert logged == ["POST /v1/audio/speech failed [request the-id]"]


async def test_an_item_of_a_batch(logged: list[str], speaker: Speaker) -> None:
    body: dict[str, Any] = {"items": [{"input": "One"}, {"input": "crash"}], "response_format": "pcm"}
    async with make_client(speaker) as client:
        answer = (await client.post("/v1/audio/speech/batch", json=body)).json()
    assert logged == [f"an item of a batch failed [request {answer['id']}-1]"]
    assert speaker.requests[1].request_id == f"{answer['id']}-1"


async def test_an_utterance(logged: list[str], speaker: Speaker) -> None:
    async with talking(make_app(speaker, SMALL)) as talk:
        talk.configure()
        talk.say("crash")
        talk.send("input.done")
        await talk.until("error")
        await talk.until("audio.done")
    utterance = speaker.requests[0].request_id.rsplit("-", 1)[0]
    assert logged == [f"an utterance failed [request {utterance}]"]
