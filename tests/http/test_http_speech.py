"""POST /v1/audio/speech through the real proxy."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import av
import httpx
import numpy as np
import pytest
from cluster import SMALL, Cluster

FORMATS = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
}
THREE_WORDS_S = 0.3


def body(text: str = "one two three", **fields: Any) -> dict[str, Any]:
    return {"model": "toy", "input": text, **fields}


def decoded_s(data: bytes) -> float:
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        return sum(frame.samples for frame in container.decode(stream)) / stream.rate


@pytest.fixture
async def client(cluster: Cluster) -> Any:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as client:
        yield client


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", FORMATS)
async def test_formats(client: httpx.AsyncClient, name: str, stream: bool) -> None:
    answer = await client.post("/v1/audio/speech", json=body(response_format=name, stream=stream))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == FORMATS[name]
    assert decoded_s(answer.content) == pytest.approx(THREE_WORDS_S, abs=0.13)
    assert ("content-length" in answer.headers) == (not stream)
    assert answer.headers["x-model"] == "toy"
    assert len(answer.headers.get_list("x-request-id")) == 1


async def test_pcm_is_the_same_streamed_and_buffered(client: httpx.AsyncClient) -> None:
    streamed = await client.post("/v1/audio/speech", json=body(response_format="pcm"))
    buffered = await client.post("/v1/audio/speech", json=body(response_format="pcm", stream=False))
    assert streamed.content == buffered.content
    assert len(streamed.content) == 2 * round(THREE_WORDS_S * 24_000)  # 24 kHz whatever the model's rate
    assert float(buffered.headers["x-audio-duration"]) == pytest.approx(THREE_WORDS_S, abs=0.001)


async def test_first_audio_comes_before_the_last(client: httpx.AsyncClient) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    first = None
    async with client.stream(
        "POST", "/v1/audio/speech", json=body("slow " * 20, response_format="pcm")
    ) as answer:
        async for _ in answer.aiter_bytes():
            first = first or loop.time() - began
    assert first is not None
    assert first < 0.5 * (loop.time() - began)


async def test_sse(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/audio/speech", json=body(stream_format="sse", response_format="pcm"))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "event: speech.audio.delta" in answer.text
    assert answer.text.rstrip().splitlines()[-1].startswith('data: {"type": "speech.audio.done"')


BAD: list[tuple[dict[str, Any], int, str | None]] = [
    (body(""), 400, "input"),
    (body("   "), 400, "input"),
    (body("x" * 5000), 400, "input"),
    (body("😀🎉"), 400, "input"),
    (body("?!… —"), 400, "input"),
    (body("\ud800 half"), 400, "input"),
    (body(model="nobody"), 404, "model"),
    (body(voice="nobody-at-all", model="kokoro"), 404, "voice"),
    (body(response_format="midi"), 400, "response_format"),
    (body(speed=9), 400, "speed"),
    (body(speed="fast"), 400, "speed"),
    ({"model": "toy"}, 400, "input"),
    (body(input=7), 400, "input"),
    (body(sample_rate=1), 400, "sample_rate"),
]


@pytest.mark.parametrize(("content", "status", "param"), BAD)
async def test_bad_input(kokoro: Cluster, content: dict[str, Any], status: int, param: str) -> None:
    async with httpx.AsyncClient(base_url=kokoro.url) as client:
        import json

        answer = await client.post("/v1/audio/speech", content=json.dumps(content))
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert error["message"]


@pytest.mark.parametrize("data", [b"{", b"[1]", b"\xff\xfe", b'{"input": "a", "speed": NaN}', b"[" * 100_000])
async def test_broken_bodies(client: httpx.AsyncClient, data: bytes) -> None:
    answer = await client.post("/v1/audio/speech", content=data)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_bad_input_is_not_logged_as_a_crash(kokoro: Cluster) -> None:
    def complaints() -> int:
        texts = [path.read_text(encoding="utf-8") for path in kokoro.logs.glob("replica_*.log")]
        assert texts
        return sum(text.count("Traceback") + text.count("ERROR") for text in texts)

    import json

    before = complaints()
    async with httpx.AsyncClient(base_url=kokoro.url) as client:
        for content, status, _ in BAD:
            answer = await client.post("/v1/audio/speech", content=json.dumps(content))
            assert answer.status_code == status
        # Logs are written by other processes, a moment later.
        await asyncio.sleep(0.5)
    assert complaints() == before


async def test_huge_body_is_413(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/audio/speech", content=b" " * 50_000_000)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


async def test_unknown_fields_are_accepted_and_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/audio/speech", json=body(wishes=1, stream=False))
    assert answer.status_code == 200
    assert "wishes" in answer.headers["x-ignored-fields"]


async def test_failure_before_the_first_audio_has_a_status(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/audio/speech", json=body("refuse this", fallback=False))
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    down = await client.post("/v1/audio/speech", json=body("down now", fallback=False))
    assert down.status_code == 503
    assert down.headers["retry-after"] == "1"


async def test_failure_after_the_first_audio_breaks_the_stream(client: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post("/v1/audio/speech", json=body("one break three", response_format="pcm"))


async def test_overload_is_429_at_once_and_accepted_requests_finish(cluster: Cluster) -> None:
    loop = asyncio.get_running_loop()
    text = "slow " * 20

    async def ask(client: httpx.AsyncClient) -> tuple[httpx.Response, float]:
        began = loop.time()
        content = {"input": text, "response_format": "pcm"}
        return await client.post(f"{cluster.small_url}/v1/audio/speech", json=content), loop.time() - began

    async with httpx.AsyncClient(timeout=30) as client:
        answers = await asyncio.gather(*(ask(client) for _ in range(12)))
    accepted = [answer for answer, _ in answers if answer.status_code == 200]
    refused = [(answer, took) for answer, took in answers if answer.status_code == 429]
    assert len(accepted) + len(refused) == 12
    assert len(accepted) == 4
    assert all(len(answer.content) == 2 * 20 * 2400 for answer in accepted)
    assert all(answer.headers["retry-after"] == "2" for answer, _ in refused)
    assert all(answer.json()["error"]["code"] == "queue_full" for answer, _ in refused)
    assert max(took for _, took in refused) < 1.0


async def test_leaving_clients_stop_the_work(cluster: Cluster) -> None:
    async def leave(after: int) -> None:
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream(
                "POST",
                f"{cluster.url}/v1/audio/speech",
                json=body("slow " * 100, response_format="pcm"),
            ) as answer,
        ):
            received = 0
            async for data in answer.aiter_bytes():
                received += len(data)
                if received > after:
                    return

    await asyncio.gather(*(leave(after * 2000) for after in range(10)))
    assert await cluster.settled("toy")


async def test_models_and_voices(kokoro: Cluster) -> None:
    async with httpx.AsyncClient(base_url=kokoro.url) as client:
        models = (await client.get("/v1/models")).json()
        assert {"kokoro", "toy", "tts-1", "gpt-4o-mini-tts"} <= {model["id"] for model in models["data"]}
        assert (await client.get("/v1/models/kokoro")).json()["id"] == "kokoro"
        assert (await client.get("/v1/models/none")).status_code == 404
        audio_models = (await client.get("/v1/audio/models")).json()
        assert {"kokoro", "toy"} <= {model["id"] for model in audio_models["models"]}
        voices = (await client.get("/v1/audio/voices", params={"model": "kokoro"})).json()["voices"]
        aliases = {alias for voice in voices for alias in voice["aliases"]}
        assert len(aliases) == 13
        assert "alloy" in aliases
        assert (await client.get("/v1/audio/voices?legacy=true")).json()["voices"][0] == voices[0]["id"]


async def test_probes_and_docs(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez")).status_code == 200
    ready = await client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["models"]["toy"] == {"ready": True}
    schema = (await client.get("/openapi.json")).json()
    assert "/v1/audio/speech" in schema["paths"]
    assert (await client.get("/docs")).status_code == 200


async def test_small_application_has_its_own_limits(cluster: Cluster) -> None:
    assert cluster.small_url.endswith(SMALL)
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            f"{cluster.small_url}/v1/audio/speech", json={"input": "hello", "stream": False}
        )
    assert answer.status_code == 200
    assert np.isclose(float(answer.headers["x-audio-duration"]), 0.1, atol=0.01)
