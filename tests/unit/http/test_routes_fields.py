"""Fields as clients really write them: null, numbers in strings, names in any case, and nothing where one is due."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from http_fakes import FakeService, make_app
from session_client import talking
from speech_answers import FAST, SPEECH

from serve_app.http.schema import SpeechBody


@pytest.mark.parametrize(
    ("fields", "name", "expected"),
    [
        ({"speed": "1.0"}, "speed", 1.0),
        ({"speed": " 1.5 "}, "speed", 1.5),
        ({"speed": "+2"}, "speed", 2.0),
        ({"speed": ".5"}, "speed", 0.5),
        ({"seed": "7"}, "seed", 7),
        ({"seed": str(2**63 - 1)}, "seed", 2**63 - 1),
        ({"pause_ms": "250"}, "pause_ms", 250.0),
        ({"latency_budget_ms": "300.5"}, "latency_budget_ms", 300.5),
    ],
)
async def test_numbers_in_strings(
    client: httpx.AsyncClient, service: FakeService, fields: dict[str, Any], name: str, expected: float
) -> None:
    answer = await client.post(SPEECH, json={**FAST, **fields})
    assert answer.status_code == 200, answer.text
    assert getattr(service.requests[0], name) == expected


async def test_a_sample_rate_in_a_string(client: httpx.AsyncClient) -> None:
    assert (await client.post(SPEECH, json={**FAST, "sample_rate": "16000"})).headers[
        "x-sample-rate"
    ] == "16000"


SILENT = (
    "input",
    "instructions",
    "ref_text",
)  # of these an empty one says something or nothing, as in the next tests
NAMES = [name for name in SpeechBody.model_fields if name not in SILENT]


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
@pytest.mark.parametrize("name", [*NAMES, "speaker", "speaker_id"])
async def test_an_empty_string_is_told_with_what_to_do(
    client: httpx.AsyncClient, name: str, blank: str
) -> None:
    answer = await client.post(SPEECH, json={**FAST, name: blank})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, name)
    assert error["message"].startswith(f"{name}: is empty; ")
    assert "leave it out" in error["message"]


async def test_an_empty_voice_in_an_object(client: httpx.AsyncClient) -> None:
    answer = await client.post(SPEECH, json={**FAST, "voice": {"id": ""}})
    assert answer.json()["error"]["message"].startswith(
        "voice: is empty; send a name that GET /v1/audio/voices"
    )


@pytest.mark.parametrize("content", ["{}", '{"input": null}'])
async def test_a_text_that_is_missing(client: httpx.AsyncClient, content: str) -> None:
    error = (await client.post(SPEECH, content=content)).json()["error"]
    assert (error["message"], error["param"]) == ("input: is missing", "input")


async def test_texts_that_say_nothing_are_as_if_they_were_not_there(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    answer = await client.post(SPEECH, json={**FAST, "instructions": "", "ref_text": " "})
    assert answer.status_code == 200, answer.text
    assert (service.requests[0].instructions, service.requests[0].reference_text) == (None, None)


@pytest.mark.parametrize("language", ["en-US", "English", "zh_Hans", "auto", "中文", "Klingon"])
async def test_what_a_language_is_called_is_for_the_router_to_read(
    client: httpx.AsyncClient, service: FakeService, language: str
) -> None:
    await client.post(SPEECH, json={**FAST, "language": language})
    assert service.requests[0].language == language


async def test_null_inside_of_objects(client: httpx.AsyncClient, service: FakeService) -> None:
    answer = await client.post(
        SPEECH,
        content=json.dumps(
            {**FAST, "extra_params": {"warmth": None, "steps": 3}, "speaker": "anna", "voice": None}
        ),
    )
    assert answer.status_code == 200, answer.text
    assert (dict(service.requests[0].params), service.requests[0].voice) == ({"steps": 3}, "anna")
    nothing = await client.post(
        SPEECH, json={**FAST, "emotion": {"vector": None, "text": None, "random": None}}
    )
    assert "needs one of" in nothing.json()["error"]["message"]


async def test_null_in_an_item_leaves_the_default_of_the_batch(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    body = {
        "items": [{"input": "Hi.", "voice": None, "speed": None, "response_format": None, "stream": None}],
        "voice": "ben",
        "speed": 2,
        "response_format": "pcm",
        "deadline_s": None,
    }
    (result,) = (await client.post(f"{SPEECH}/batch", json=body)).json()["results"]
    assert (result["status"], result["media_type"], result["ignored"]) == ("success", "audio/pcm", [])
    assert (service.requests[0].voice, service.requests[0].speed) == ("ben", 2)


async def test_null_in_a_session(service: FakeService) -> None:
    async with talking(make_app(service)) as talk:
        talk.configure(
            speed=None, language=None, split_granularity=None, audio_encoding=None, voice="ANNA", stream=None
        )
        talk.send("input.text", text=None)
        error, _ = await talk.until("error")
        assert error["error"]["message"] == "text: is missing"
        talk.say("One.")
        talk.send("input.done", text=None)
        error, _ = await talk.until("error")
        assert (
            "'ANNA'" in error["error"]["message"]
        )  # the fake knows no other spelling; the session let it pass
    assert service.requests[0].speed == 1.0
