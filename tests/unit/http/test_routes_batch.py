"""POST /v1/audio/speech/batch over a fake service."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from http_fakes import Wire, body_schema, make_app
from speaker_fake import MAX_BYTES, SMALL, WORD_S, Speaker

BATCH = "/v1/audio/speech/batch"
RATE_HZ = 24_000


@pytest.fixture
async def client(speaker: Speaker) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(make_app(speaker, SMALL)), base_url="http://test"
    ) as client:
        yield client
    assert speaker.running == 0


def items(*texts: str, **defaults: Any) -> dict[str, Any]:
    return {
        "items": [{"input": text} for text in texts],
        "model": "toy",
        "response_format": "pcm",
        **defaults,
    }


async def answered(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(BATCH, json=body)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    assert list(content) == ["id", "results", "total", "succeeded", "failed"]
    assert [result["index"] for result in content["results"]] == list(range(content["total"]))
    statuses = [result["status"] for result in content["results"]]
    assert (statuses.count("success"), statuses.count("error")) == (content["succeeded"], content["failed"])
    return content


async def test_items_in_order(client: httpx.AsyncClient) -> None:
    content = await answered(client, items("slow one two three", "Two two", "Three"))
    first = content["results"][0]
    audio = base64.b64decode(first.pop("audio_data"))
    assert len(audio) == 2 * round(4 * WORD_S * RATE_HZ)
    assert first == {
        "index": 0,
        "status": "success",
        "media_type": "audio/pcm",
        "usage": {"input_tokens": 18, "output_tokens": 20, "total_tokens": 38},
        "model": "toy",
        "voice": "anna",
        "sample_rate": RATE_HZ,
        "duration_s": 0.4,
        "warnings": [],
        "ignored": [],
        "error": None,
    }
    assert [result["duration_s"] for result in content["results"]] == [0.4, 0.2, 0.1]


async def test_each_bad_item_fails_alone(client: httpx.AsyncClient) -> None:
    body = items("One", "", "broken", "crash", "Two")
    body["items"] += [{"input": "x", "speed": 9}, {}, "text", {"input": "x", "model": "toy", "ref_text": "y"}]
    body["items"] += [
        {"input": "Chinese", "voice": "anna"},
        {"input": "x", "sample_rate": 9000, "response_format": "mp3"},
    ]
    content = await answered(client, body)
    assert (content["total"], content["succeeded"], content["failed"]) == (11, 2, 9)
    failures = {r["index"]: r["error"]["param"] for r in content["results"] if r["status"] == "error"}
    assert failures == {
        1: "input",
        2: None,
        3: None,
        5: "speed",
        6: "input",
        7: "items",
        8: "ref_text",
        9: "voice",
        10: "sample_rate",
    }
    assert content["results"][1]["audio_data"] is None
    assert content["results"][3]["error"]["type"] == "server_error"
    assert "bug" not in content["results"][3]["error"]["message"]


async def test_formats_by_item(client: httpx.AsyncClient) -> None:
    body = items("One", response_format="wav")
    body["items"].append({"input": "Two", "response_format": "mp3"})
    results = (await answered(client, body))["results"]
    wav = base64.b64decode(results[0]["audio_data"])
    assert wav[:4] == b"RIFF"
    assert int.from_bytes(wav[4:8], "little") == len(wav) - 8  # exact, not a placeholder
    assert results[1]["media_type"] == "audio/mpeg"


@pytest.mark.parametrize(
    ("defaults", "item", "expected"),
    [
        ({"seed": 1}, {}, {"seed": 1}),
        ({"seed": 1}, {"seed": 2}, {"seed": 2}),
        ({"speaker": "anna"}, {"voice": "ben"}, {"voice": "ben"}),
        ({"voice": "anna"}, {"speaker_id": "ben"}, {"voice": "ben"}),
        ({"voice": "anna"}, {"speaker": {"id": "ben"}}, {"voice": "ben"}),
        (
            {"extra_params": {"top_k": 3, "num_beams": 2}},
            {"top_k": 4},
            {"params": {"top_k": 4, "num_beams": 2}},
        ),
        ({"top_k": 3}, {"extra_params": {"top_k": 4}}, {"params": {"top_k": 4}}),
        (
            {"extra_params": {"top_k": 3, "num_beams": 2}},
            {"extra_params": {"top_k": 4}},
            {"params": {"top_k": 4, "num_beams": 2}},
        ),
        ({"emo_text": "sad", "emo_alpha": 0.5}, {"emotion": {"text": "glad"}}, {"emotion.text": "glad"}),
        ({"emotion": {"text": "sad"}}, {"extra_params": {"emo_text": "glad"}}, {"emotion.text": "glad"}),
        ({"stream": True}, {"stream": True}, {"stream": False}),
    ],
)
async def test_an_item_wins_over_the_defaults(
    client: httpx.AsyncClient,
    speaker: Speaker,
    defaults: dict[str, Any],
    item: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    await answered(client, {"items": [{"input": "One", **item}], **defaults})
    request = speaker.requests[0]
    for name, value in expected.items():
        found: Any = request
        for part in name.split("."):
            found = getattr(found, part)
        assert found == value


async def test_a_recording_and_a_voice_exclude_each_other_across_levels(
    client: httpx.AsyncClient, speaker: Speaker
) -> None:
    url = "data:audio/wav;base64," + base64.b64encode(b"RIFFxxxxWAVE").decode()
    body = {
        "items": [{"input": "One"}, {"input": "Two", "voice": "ben"}],
        "ref_audio": url,
        "ref_text": "hello",
    }
    await answered(client, body | {"filler": True})
    assert not any(request.filler for request in speaker.requests)
    assert {request.text: request.voice for request in speaker.requests} == {"One": None, "Two": "ben"}
    assert {request.text: request.reference_text for request in speaker.requests} == {
        "One": "hello",
        "Two": None,
    }


async def test_what_is_ignored_is_named(client: httpx.AsyncClient) -> None:
    body = items("One", wishes=1, stream=True, instructions="whisper")
    body["items"][0] |= {"stream_format": "sse", "hopes": 2}
    answer = await client.post(BATCH, json=body)
    assert answer.headers["x-ignored-fields"] == "stream"
    assert answer.json()["results"][0]["ignored"] == ["hopes", "instructions", "stream_format", "wishes"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "items"),
        ({"items": []}, 400, "items"),
        ({"items": {}}, 400, "items"),
        ({"items": [{"input": "x"}] * 65}, 400, "items"),
        (items("One", speed=9), 400, "speed"),
        (items("One", deadline_s=0), 400, "deadline_s"),
        (items("One", deadline_s=1e9), 400, "deadline_s"),
        (items("x" * MAX_BYTES), 413, None),
    ],
)
async def test_a_batch_that_is_wrong_as_a_whole(
    client: httpx.AsyncClient, speaker: Speaker, body: dict[str, Any], status: int, param: str | None
) -> None:
    answer = await client.post(BATCH, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param
    assert not speaker.requests


@pytest.mark.slow
async def test_items_run_side_by_side_within_bounds(client: httpx.AsyncClient, speaker: Speaker) -> None:
    await answered(client, items(*["slow one two"] * 30))
    assert speaker.most_running == 8


async def test_items_that_are_refused_wait(client: httpx.AsyncClient, speaker: Speaker) -> None:
    speaker.refusals = 25
    content = await answered(client, items(*["full house"] * 10))
    assert content["succeeded"] == 10
    assert len(speaker.requests) == 35


@pytest.mark.slow
async def test_but_not_for_ever(client: httpx.AsyncClient, speaker: Speaker) -> None:
    speaker.refusals = 1_000_000
    content = await answered(client, items("One", "full house", deadline_s=0.3))
    assert content["succeeded"] == 1
    assert content["results"][1]["error"]["code"] == "queue_full"


@pytest.mark.slow
async def test_the_deadline_fails_what_is_not_made(client: httpx.AsyncClient) -> None:
    content = await answered(client, items("One", "slow " * 35, deadline_s=0.4))
    assert content["succeeded"] == 1
    assert content["results"][1]["error"]["code"] == "deadline_exceeded"


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_client_that_leaves_stops_all(speaker: Speaker, spec_version: str) -> None:
    class BatchWire(Wire):
        @property
        def scope(self) -> dict[str, Any]:
            return {**super().scope, "path": BATCH, "raw_path": BATCH.encode()}

    body = items("One", *["slow " * 35] * 20)
    wire = BatchWire(make_app(speaker, SMALL), body, leave_after=2, spec_version=spec_version)
    await asyncio.wait_for(wire.run(), 10)
    assert speaker.running == 0
    assert speaker.words < 20 * 35
    assert not wire.ended_cleanly


async def test_characters_that_are_no_text_do_no_harm(client: httpx.AsyncClient) -> None:
    content = json.dumps({"items": [{"input": "One"}, {"input": "\ud800"}, {"input": "One", "\ud800": 1}]})
    answer = await client.post(BATCH, content=content)
    assert answer.status_code == 200
    assert [result["status"] for result in answer.json()["results"]] == ["success", "error", "error"]


async def test_the_document_describes_items(client: httpx.AsyncClient) -> None:
    body = body_schema((await client.get("/openapi.json")).json(), BATCH)
    assert body["required"] == ["items"]
    assert "input" in body["properties"]["items"]["items"]["properties"]
