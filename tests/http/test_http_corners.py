"""What HTTP asks of every route, and whom a name means, through the real proxy."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from cluster import Cluster
from old_http import speak_in_old_http

SPEECH = "/v1/audio/speech"
BODY = {"model": "toy", "input": "one two", "response_format": "pcm"}
ORIGIN = {"Origin": "http://localhost:3000"}


@pytest.fixture
async def client(cluster: Cluster) -> Any:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/", "/livez", "/readyz", "/v1/models", "/v1/audio/voices", "/docs", "/openapi.json"]
)
async def test_head(client: httpx.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == str(len(got.content))


@pytest.mark.parametrize("path", [f"/{SPEECH}", f"{SPEECH}/", "/v1//audio/speech", "//v1/audio//speech//"])
async def test_slashes(cluster: Cluster, client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(f"{cluster.url}{path}", json=BODY)
    assert answer.status_code == 200, answer.text


async def test_slashes_below_a_prefix(cluster: Cluster, client: httpx.AsyncClient) -> None:
    for path in ("/", "//livez", "/livez/"):
        assert (await client.get(f"{cluster.small_url}{path}")).status_code == 200


@pytest.mark.parametrize(
    "fields", [{}, {"stream_format": "sse"}, {"stream": False}, {"response_format": "mp3"}]
)
async def test_old_http(cluster: Cluster, fields: dict[str, Any]) -> None:
    port = urlsplit(cluster.url).port
    assert port is not None
    head, body = await asyncio.to_thread(speak_in_old_http, port, SPEECH, **{**BODY, **fields})
    assert "200" in head.splitlines()[0]
    assert "transfer-encoding" not in head
    assert f"content-length: {len(body)}" in head


@pytest.mark.parametrize(
    ("pack", "encoding", "status"),
    [(gzip.compress, "gzip", 200), (zlib.compress, "deflate", 200), (bytes, "br", 415), (bytes, "gzip", 400)],
)
async def test_packed_bodies(client: httpx.AsyncClient, pack: Any, encoding: str, status: int) -> None:
    data = pack(json.dumps(BODY).encode())
    answer = await client.post(SPEECH, content=data, headers={"content-encoding": encoding})
    assert answer.status_code == status, answer.text


async def test_a_bomb(client: httpx.AsyncClient) -> None:
    data = gzip.compress(b" " * 50_000_000)
    assert (await client.post(SPEECH, content=data, headers={"content-encoding": "gzip"})).status_code == 413


async def test_pages_of_this_machine(client: httpx.AsyncClient) -> None:
    asked = {
        **ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = await client.options(SPEECH, headers=asked)
    answer = await client.post(SPEECH, json=BODY, headers=ORIGIN)
    for each in (preflight, answer):
        assert (each.status_code, each.headers["access-control-allow-origin"]) == (200, ORIGIN["Origin"])
    assert "X-Warnings" in answer.headers["access-control-expose-headers"]
    other = await client.post(SPEECH, json=BODY, headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("model", ["auto", "fast", "quality", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"])
async def test_a_name_is_one_voice_whatever_the_policy(client: httpx.AsyncClient, model: str) -> None:
    for voice in ("toy2-tone", "TOY2-Tone"):
        answer = await client.post(SPEECH, json={**BODY, "model": model, "voice": voice})
        assert (answer.headers["x-model"], answer.headers["x-voice"]) == ("toy2", "toy2-tone")
    missing = await client.post(SPEECH, json={**BODY, "model": model, "voice": "nobody-at-all"})
    assert missing.status_code == 404
    assert missing.json()["error"]["message"].startswith("voice 'nobody-at-all' does not exist; ")


async def test_another_speaker_is_told_of(client: httpx.AsyncClient) -> None:
    body = {**BODY, "model": "off"}
    assert (await client.post(SPEECH, json=body)).status_code == 503
    answer = await client.post(SPEECH, json={**body, "fallback": True})
    assert answer.headers["x-route-reason"] == "fallback:off"
    assert answer.headers["x-warnings"].startswith("model 'off' cannot answer now: voice ")


@pytest.mark.parametrize(
    "fields",
    [
        dict.fromkeys(
            ("speed", "response_format", "stream", "voice", "language", "seed", "fallback", "wishes")
        ),
        {"language": "en-US"},
        {"language": "English"},
        {"language": "auto"},
        {"speed": "1.0"},
    ],
)
async def test_fields_as_clients_write_them(client: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    answer = await client.post(SPEECH, json={**BODY, **fields})
    assert answer.status_code == 200, answer.text
    assert "x-ignored-fields" not in answer.headers


async def test_a_language_that_nobody_speaks(client: httpx.AsyncClient) -> None:
    answer = await client.post(SPEECH, json={**BODY, "language": "Klingon"})
    assert answer.status_code == 400
    assert "spoken are en (English), " in answer.json()["error"]["message"]
