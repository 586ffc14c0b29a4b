"""A family of models that nobody but its own folder knows of (tests/toys/chimes): served by naming it in a config."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from cluster import Cluster

NAME = "family"
RATE_HZ = 8000


def recording(peak: float) -> bytes:
    samples = peak * np.sin(np.arange(2 * RATE_HZ) / 5)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def family_url(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from ray import serve

    from serve_app.app import build
    from serve_app.config import Config

    voices: Path = tmp_path_factory.mktemp("chimes")
    (voices / "loud.wav").write_bytes(recording(0.8))
    config = Config(
        models={
            "chimes": {"kind": "toys.chimes.pipeline", "voices": str(voices)},
            "toy3": {"kind": "toys.tones"},
        },
        voices={"url": str(tmp_path_factory.mktemp("store"))},
    )
    serve.run(build(config), name=NAME, route_prefix=f"/{NAME}")
    yield f"{cluster.url}/{NAME}"
    serve.delete(NAME)


@pytest.fixture
async def client(family_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=family_url, timeout=30) as client:
        yield client


async def spoken(client: httpx.AsyncClient, **fields: object) -> tuple[np.ndarray, httpx.Response]:
    body = {"input": "three short words", "model": "chimes", "response_format": "pcm", "sample_rate": RATE_HZ}
    answer = await client.post("/v1/audio/speech", json={**body, **fields})
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, np.int16) / 2**15, answer


async def test_it_is_listed_with_its_parameters(client: httpx.AsyncClient) -> None:
    models = {model["id"]: model for model in (await client.get("/v1/audio/models")).json()["data"]}
    chimes = models["chimes"]
    assert chimes["description"] == "Bells for words"
    assert chimes["parameters"]["properties"]["pitch_hz"] == {
        "default": 400,
        "description": "of the lowest bell",
        "maximum": 2000,
        "minimum": 100,
        "title": "Pitch Hz",
        "type": "integer",
    }
    assert "pitch_hz" not in str(models["toy3"])
    assert "chimes" in [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
    assert "loud" in [voice["id"] for voice in (await client.get("/v1/audio/voices")).json()["data"]]


async def test_its_parameter_is_heard_validated_and_ignored_by_others(client: httpx.AsyncClient) -> None:
    low, _ = await spoken(client)
    high, answer = await spoken(client, pitch_hz=800)
    assert "x-ignored-fields" not in answer.headers
    assert np.abs(np.fft.rfft(high[:400])).argmax() == 2 * np.abs(np.fft.rfft(low[:400])).argmax()
    refused = await client.post("/v1/audio/speech", json={"input": "a", "model": "chimes", "pitch_hz": 5})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "pitch_hz"
    assert "100" in refused.json()["error"]["message"]
    _, other = await spoken(client, model="toy3", pitch_hz=800)
    assert other.headers["x-ignored-fields"] == "pitch_hz"


async def test_it_clones_voices(client: httpx.AsyncClient) -> None:
    added = await client.post(
        "/v1/audio/voices",
        data={"name": "Quiet"},
        files={"audio_sample": ("quiet.wav", recording(0.2), "audio/wav")},
    )
    assert added.status_code in (200, 201), added.text
    loud, _ = await spoken(client)
    quiet, answer = await spoken(client, voice="Quiet")
    assert answer.headers["x-cache"] == "miss"
    assert np.abs(loud).max() / np.abs(quiet).max() == pytest.approx(4, rel=0.05)
    _, again = await spoken(client, voice="quiet")
    assert again.headers["x-cache"] == "hit"


async def test_the_router_chooses_it_for_what_only_it_can(client: httpx.AsyncClient) -> None:
    _, answer = await spoken(client, model="auto", voice="loud")
    assert (answer.headers["x-model"], answer.headers["x-voice"]) == ("chimes", "loud")
