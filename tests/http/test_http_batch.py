"""POST /v1/audio/speech/batch through the real proxy."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from cluster import Cluster

BATCH = "/v1/audio/speech/batch"
BYTES_PER_WORD = 2 * 2400


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=120) as client:
        yield client


def items(*texts: str, **defaults: Any) -> dict[str, Any]:
    return {
        "items": [{"input": text} for text in texts],
        "model": "toy",
        "response_format": "pcm",
        **defaults,
    }


async def test_one_bad_item_fails_alone(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        BATCH, json=items("one two", "?!", "refuse this", "one two three", fallback=False)
    )
    assert answer.status_code == 200, answer.text
    content = answer.json()
    assert (content["total"], content["succeeded"], content["failed"]) == (4, 2, 2)
    good, mute, refused, last = content["results"]
    assert len(base64.b64decode(good["audio_data"])) == 2 * BYTES_PER_WORD
    assert len(base64.b64decode(last["audio_data"])) == 3 * BYTES_PER_WORD
    assert mute["error"]["code"] == "input_not_speakable"
    assert refused["error"]["type"] == "server_error"


async def test_a_batch_larger_than_the_queue_succeeds(cluster: Cluster) -> None:
    """The small application has places for 4 requests and tells others to come back after 1.5 s."""
    body = {"items": [{"input": "slow word " + str(n)} for n in range(24)], "response_format": "pcm"}
    async with httpx.AsyncClient(timeout=120) as client:
        answer = await client.post(f"{cluster.small_url}{BATCH}", json=body)
    content = answer.json()
    assert content["succeeded"] == 24, content
    assert all(len(base64.b64decode(r["audio_data"])) == 3 * BYTES_PER_WORD for r in content["results"])


async def test_leaving_stops_every_item(cluster: Cluster, client: httpx.AsyncClient) -> None:
    body = items("one", *["slow " * 100] * 20)
    async with client.stream("POST", BATCH, json=body) as answer:
        async for _ in answer.aiter_bytes():
            break
    # Items that would begin after the first ones would show up a moment later.
    assert await cluster.settled("toy")
    await asyncio.sleep(0.3)
    assert (await cluster.counts("toy"))["running"] == 0


async def test_two_models_in_one_batch(kokoro: Cluster, client: httpx.AsyncClient) -> None:
    body = {
        "items": [
            {"input": "Good morning.", "model": "kokoro", "voice": "af_heart"},
            {"input": "Good morning.", "model": "kokoro", "voice": "nobody"},
            {"input": "Good morning.", "model": "index", "seed": 1},
        ],
        "response_format": "wav",
    }
    results = (await client.post(BATCH, json=body)).json()["results"]
    assert [result["status"] for result in results] == ["success", "error", "success"]
    assert [results[0]["model"], results[2]["model"]] == ["kokoro", "index"]
    assert results[1]["error"]["code"] == "voice_not_found"
    assert results[0]["duration_s"] > 0.4


async def test_an_item_equals_a_request_of_its_own(client: httpx.AsyncClient) -> None:
    fields = {"input": "The same audio.", "model": "index", "seed": 5, "response_format": "pcm"}
    alone = (await client.post("/v1/audio/speech", json={**fields, "stream": False})).content
    batch = await client.post(BATCH, json={"items": [fields] * 2})
    first, second = (base64.b64decode(result["audio_data"]) for result in batch.json()["results"])
    assert len(first) == len(second) == len(alone)
