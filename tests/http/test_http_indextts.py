"""IndexTTS2 as four deployments over HTTP, on a checkpoint of a few megabytes: reference recording in, wave out."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from cluster import Cluster

from serve_app import connect

TEXT = "The first sentence is short. The second one is a little longer than the first."


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def recording(golden_front: Path) -> bytes:
    """Not the stock voice's own file, whose profile is there already."""
    wave, rate = soundfile.read(golden_front / "ref_spk_24k_mono.wav", dtype="int16")
    target = io.BytesIO()
    soundfile.write(target, wave[::-1], rate, format="WAV")
    return target.getvalue()


def body(text: str = TEXT, **fields: Any) -> dict[str, Any]:
    return {"model": "index", "input": text, "response_format": "pcm", "seed": 7, **fields}


async def samples(client: httpx.AsyncClient, **fields: Any) -> np.ndarray:
    answer = await client.post("/v1/audio/speech", json=body(**fields))
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, dtype="<i2").astype(np.int32)


async def test_speaks_with_a_stock_voice(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/audio/speech", json=body())
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-model"] == "index"
    assert len(answer.content) > 10_000
    assert np.abs(np.frombuffer(answer.content, dtype="<i2")).max() > 100


async def test_same_seed_same_audio_and_another_seed_another(client: httpx.AsyncClient) -> None:
    first = await samples(client)
    again = await samples(client)
    other = await samples(client, seed=8)
    assert len(first) == len(again)
    assert np.abs(first - again).max() <= 4  # 1e-4 of full scale
    assert len(first) != len(other) or np.abs(first - other).max() > 4


async def test_the_same_audio_at_any_load(client: httpx.AsyncClient) -> None:
    """Eight mixed requests together against one by one: 1e-4 of full scale."""
    requests: list[dict[str, Any]] = [
        {"text": TEXT, "seed": 1},
        {"text": "Alone.", "seed": 2, "stream": False},
        {"text": TEXT, "seed": 3, "num_beams": 1},
        {"text": "Number four, with other steps.", "seed": 4, "diffusion_steps": 3},
        {"text": TEXT, "seed": 5, "guidance": 0.0},
        {"text": "Six.", "seed": 6, "temperature": 1.2},
        {"text": TEXT, "seed": 7, "stream": False},
        {"text": "The last of the eight requests.", "seed": 8},
    ]
    alone = [await samples(client, **fields) for fields in requests]
    together = await asyncio.gather(*(samples(client, **fields) for fields in requests))
    for one, other in zip(alone, together, strict=True):
        assert len(one) == len(other)
        assert np.abs(one - other).max() <= 4


async def test_uploaded_voice_is_encoded_once(client: httpx.AsyncClient, recording: bytes) -> None:
    upload = await client.post(
        "/v1/audio/voices", data={"name": "Ada"}, files={"audio_sample": ("ada.wav", recording, "audio/wav")}
    )
    assert upload.status_code in (200, 201), upload.text
    voice = upload.json()["id"]
    try:
        listed = (await client.get("/v1/audio/voices")).json()["uploaded_voices"]
        assert voice in {entry["id"] for entry in listed}
        first = await client.post("/v1/audio/speech", json=body(voice="Ada"))
        second = await client.post("/v1/audio/speech", json=body(voice=voice))
        assert first.status_code == 200, first.text
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
        one, other = (np.frombuffer(answer.content, dtype="<i2").astype(int) for answer in (first, second))
        assert np.abs(one - other).max() <= 4
    finally:
        assert (await client.delete(f"/v1/audio/voices/{voice}")).status_code == 200
    gone = await client.post("/v1/audio/speech", json=body(voice=voice))
    assert gone.status_code == 404


async def test_one_off_clone_and_emotion(client: httpx.AsyncClient, recording: bytes) -> None:
    url = "data:audio/wav;base64," + base64.b64encode(recording).decode()
    plain = await samples(client, ref_audio=url)
    moved = await samples(client, ref_audio=url, emotion={"vector": [0.6, 0, 0, 0, 0, 0, 0, 0]})
    assert len(plain) != len(moved) or np.abs(plain - moved).max() > 4


async def test_auto_finds_the_model_that_clones(client: httpx.AsyncClient, recording: bytes) -> None:
    url = "data:audio/wav;base64," + base64.b64encode(recording).decode()
    answer = await client.post("/v1/audio/speech", json={**body(ref_audio=url), "model": "auto"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-model"] == "index"
    assert answer.headers["x-route-reason"] == "only-suitable"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"emotion": {"vector": [1, 2]}}, "vector"),
    ({"diffusion_steps": 0}, "diffusion_steps"),
    ({"diffusion_steps": 51}, "diffusion_steps"),
    ({"num_beams": 99}, "num_beams"),
    ({"ref_audio": "https://example.com/a.wav"}, "data:"),
    ({"ref_audio": "data:audio/wav;base64,aGVsbG8="}, "audio"),
    ({"quality": "superb"}, "quality"),
]


@pytest.mark.parametrize(("fields", "named"), BAD)
async def test_bad_input_is_explained(client: httpx.AsyncClient, fields: dict[str, Any], named: str) -> None:
    answer = await client.post("/v1/audio/speech", json=body(**fields))
    assert answer.status_code in (400, 413, 415), answer.text
    assert named in answer.text


async def test_leaving_frees_every_stage(client: httpx.AsyncClient) -> None:
    """Rows that were not freed would soon be all there are: each of these takes up to eight of the GPT's 32."""
    for _ in range(20):
        async with client.stream("POST", "/v1/audio/speech", json=body(TEXT * 4)) as answer:
            async for _ in answer.aiter_bytes():
                break
    answer = await client.post("/v1/audio/speech", json=body(TEXT, seed=1))
    assert answer.status_code == 200
    assert answer.headers["x-model"] == "index"


async def test_a_server_full_of_long_texts_finishes_every_one_that_it_accepted(cluster: Cluster) -> None:
    """20 streams of 6 segments want twice the rows that the GPT has, waiting included."""
    requests = 20
    text = " ".join(
        f"Sentence number {n} is here, and it is long enough to be one segment." for n in range(6)
    )

    async def spoken() -> tuple[int, int]:
        fields = {"max_text_tokens_per_segment": 40, "fallback": False}
        answer = await http.post("/v1/audio/speech", json=body(text, **fields))
        return answer.status_code, len(answer.content)

    async with httpx.AsyncClient(base_url=cluster.url, timeout=300) as http:
        alone = await spoken()
        assert alone[0] == httpx.codes.OK
        answers = await asyncio.gather(*(spoken() for _ in range(requests)))
    # Those that would have begun too late were refused at once; nobody who was let in loses a sample.
    accepted = [answer for answer in answers if answer[0] != httpx.codes.TOO_MANY_REQUESTS]
    assert set(accepted) == {alone}
    assert len(accepted) >= requests // 4


async def test_handle_adds_speaks_and_removes(cluster: Cluster, recording: bytes) -> None:
    tts = connect()
    voice = await tts.add_voice("Grace", recording)
    try:
        speech = await tts.speak("Hello.", model="index", voice="Grace", seed=1)
        assert speech.sample_rate_hz == 22_050
        assert speech.duration_s > 0.05
    finally:
        await tts.remove_voice(voice.id)
