"""Recordings that come with requests are decoded beside the event loop, and no oftener than needed."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from http_fakes import FakeService, make_client
from session_client import talking
from speaker_fake import SMALL, Speaker

from serve_app.http import fields
from serve_app.http.application import create_api

AUDIO = b"RIFFxxxxWAVE"
URL = "data:audio/wav;base64," + base64.b64encode(AUDIO).decode()


@pytest.fixture
def decoded_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the threads that decoded."""
    threads: list[str] = []
    read = fields.read_data_url

    def noted(url: str, *, param: str) -> bytes:
        threads.append(threading.current_thread().name)
        return read(url, param=param)

    monkeypatch.setattr(fields, "read_data_url", noted)
    yield threads
    assert threads
    assert all(name.startswith("recordings") for name in threads)


@pytest.mark.parametrize(
    "body",
    [
        {"ref_audio": URL},
        {"emo_audio": URL},
        {"emotion": {"audio": URL}},
        {"extra_params": {"emo_audio": URL}},
    ],
)
async def test_of_a_request(decoded_in: list[str], body: dict[str, Any]) -> None:
    service = FakeService()
    async with make_client(service) as client:
        assert (await client.post("/v1/audio/speech", json={"input": "Hello.", **body})).status_code == 200
    (request,) = service.requests
    found = request.emotion.audio if request.emotion else request.reference_audio
    assert found == AUDIO
    assert len(decoded_in) == 1


async def test_of_a_session_once(decoded_in: list[str], speaker: Speaker) -> None:
    async with talking(create_api(speaker, SMALL)) as talk:  # type: ignore[arg-type]
        talk.configure(ref_audio=URL, voice=None)
        for text in ("One. Two. Three.", "Four."):
            talk.say(text)
            talk.send("input.done")
            await talk.utterance()
    assert len(speaker.requests) == 4
    assert {request.reference_audio for request in speaker.requests} == {AUDIO}
    assert len(decoded_in) == 1
