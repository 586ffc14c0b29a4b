"""VoxCPM as two deployments over HTTP, as configs/voxcpm-tiny.yaml has it: recording in, streamed wave out."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import yaml
from cluster import PATIENT_S, Cluster
from tiny_voxcpm import NAME, STOCK_VOICE, TRANSCRIPT, VOICE_RATE_HZ, made_up_speech, make_tiny_checkpoint

ROOT = Path(__file__).parents[2]
TEXT = "the low voice. the engine test. stream the latency."
RATE_HZ = 48_000
CLOSE = 4  # 1e-4 of full scale


@pytest.fixture(scope="module")
def voxcpm_url(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The config's graph, and version 1.5 beside it."""
    from ray import serve

    from serve_app.app import build
    from serve_app.config import Config

    places = {
        version: make_tiny_checkpoint(tmp_path_factory.mktemp(version), ROOT / "tests/golden", version)
        for version in ("v2", "v15")
    }
    args = yaml.safe_load((ROOT / "configs/voxcpm-tiny.yaml").read_text("utf-8"))["applications"][0]["args"]
    (entry,) = args["models"].values()
    assert entry["checkpoint"] == NAME
    entry["longest_wait_s"] = PATIENT_S
    args["models"] = {
        "voxcpm": {**entry, "checkpoint": f"{places['v2']}/"},
        "voxcpm-1.5": {**entry, "checkpoint": f"{places['v15']}/", "quality_rank": 30},
    }
    config = Config(**args, default_model="voxcpm", voices={"url": str(tmp_path_factory.mktemp("store"))})
    serve.run(build(config), name="voxcpm", route_prefix="/voxcpm")
    yield f"{cluster.url}/voxcpm"
    serve.delete("voxcpm")


@pytest.fixture
async def client(voxcpm_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=voxcpm_url, timeout=120) as client:
        yield client


def recording(pitch_hz: float = 200.0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, made_up_speech(pitch_hz), VOICE_RATE_HZ, format="WAV")
    return file.getvalue()


def data_url(audio: bytes) -> str:
    return "data:audio/wav;base64," + base64.b64encode(audio).decode()


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "voxcpm", "input": TEXT, "response_format": "pcm", "seed": 7, **fields}


async def samples(client: httpx.AsyncClient, **fields: Any) -> np.ndarray:
    answer = await client.post("/v1/audio/speech", json=body(**fields))
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, dtype="<i2").astype(np.int32)


async def test_recording_in_streamed_wave_out(client: httpx.AsyncClient) -> None:
    fields: dict[str, Any] = {
        "ref_audio": data_url(recording()),
        "ref_text": TRANSCRIPT,
        "sample_rate": RATE_HZ,
    }
    async with client.stream(
        "POST", "/v1/audio/speech", json=body(**fields, response_format="wav")
    ) as answer:
        pieces = [piece async for piece in answer.aiter_bytes()]
    assert answer.status_code == 200
    assert answer.headers["x-model"] == "voxcpm"
    assert len(pieces) > 1
    wave = b"".join(pieces)
    assert wave[:4] == b"RIFF"
    assert int.from_bytes(wave[24:28], "little") == RATE_HZ
    spoken = np.frombuffer(wave[44:], dtype="<i2")
    assert np.abs(spoken).max() > 50
    assert np.abs(spoken - await samples(client, **fields)).max() <= CLOSE


@pytest.mark.parametrize("model", ["voxcpm", "voxcpm-1.5"])
async def test_streaming_equals_buffered_with_a_seed(client: httpx.AsyncClient, model: str) -> None:
    streamed = await samples(client, model=model)
    buffered = await samples(client, model=model, stream=False)
    other = await samples(client, model=model, seed=8)
    assert len(streamed) == len(buffered) > 1000
    assert np.abs(streamed - buffered).max() <= CLOSE
    assert len(other) != len(streamed) or np.abs(other - streamed).max() > CLOSE


async def test_the_same_audio_at_any_load(client: httpx.AsyncClient) -> None:
    requests: list[dict[str, Any]] = [
        {"seed": 1},
        {"input": "hello world.", "seed": 2, "stream": False},
        {"seed": 3, "cfg_value": 1.5, "inference_timesteps": 4},
        {"seed": 4, "voice": "random"},
        {"seed": 5, "ref_audio": data_url(recording())},
        {"seed": 6, "model": "voxcpm-1.5"},
    ]
    alone = [await samples(client, **fields) for fields in requests]
    together = await asyncio.gather(*(samples(client, **fields) for fields in requests))
    for one, other in zip(alone, together, strict=True):
        assert len(one) == len(other)
        assert np.abs(one - other).max() <= CLOSE


async def test_a_missing_transcript_is_a_clear_400(client: httpx.AsyncClient) -> None:
    fields = {"ref_audio": data_url(recording())}
    assert len(await samples(client, **fields)) > 0  # version 2 takes the voice alone
    answer = await client.post("/v1/audio/speech", json=body(model="voxcpm-1.5", **fields))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("ref_text", "transcript_missing")
    assert "send the transcript of `ref_audio` as `ref_text`" in error["message"]
    assert len(await samples(client, model="voxcpm-1.5", **fields, ref_text=TRANSCRIPT)) > 0


async def test_an_uploaded_voice_is_cloned_and_encoded_once(client: httpx.AsyncClient) -> None:
    upload = await client.post(
        "/v1/audio/voices",
        data={"name": "Ada", "ref_text": TRANSCRIPT},
        files={"audio_sample": ("ada.wav", recording(240.0), "audio/wav")},
    )
    assert upload.status_code in (200, 201), upload.text
    voice = upload.json()["id"]
    for model in ("voxcpm", "voxcpm-1.5"):
        first = await client.post("/v1/audio/speech", json=body(model=model, voice="Ada"))
        second = await client.post("/v1/audio/speech", json=body(model=model, voice=voice))
        assert first.status_code == 200, first.text
        assert second.headers["x-cache"] == "hit"
        one, other = (np.frombuffer(answer.content, dtype="<i2").astype(int) for answer in (first, second))
        assert np.abs(one - other).max() <= CLOSE
        stock = await samples(client, model=model, voice=STOCK_VOICE)
        assert len(stock) != len(one) or np.abs(stock - one).max() > CLOSE
    assert (await client.delete(f"/v1/audio/voices/{voice}")).status_code == 200


async def test_a_voice_described_in_words(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/audio/speech", json=body(voice="random", instructions="low voice"))
    assert answer.status_code == 200, answer.text
    assert "x-ignored-fields" not in answer.headers
    plain = await samples(client, voice="random")
    described = np.frombuffer(answer.content, dtype="<i2").astype(np.int32)
    assert len(plain) != len(described) or np.abs(plain - described).max() > CLOSE
    first_version = body(model="voxcpm-1.5", voice="random", instructions="low voice")
    answer = await client.post("/v1/audio/speech", json=first_version)
    assert answer.headers["x-ignored-fields"] == "instructions"


@pytest.mark.parametrize(("model", "native_hz"), [("voxcpm", 48_000), ("voxcpm-1.5", 44_100)])
async def test_any_sample_rate_may_be_asked_for(
    client: httpx.AsyncClient, model: str, native_hz: int
) -> None:
    native = await samples(client, model=model, sample_rate=native_hz)
    for rate_hz in (16_000, 24_000, 44_100, 48_000):
        heard = await samples(client, model=model, sample_rate=rate_hz)
        assert len(heard) == pytest.approx(len(native) * rate_hz / native_hz, rel=0.02)


async def test_models_and_voices_are_listed(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/audio/models")).json()
    models = {model["id"]: model for model in listed["data"]}
    parameters = models["voxcpm"]["parameters"]["properties"]
    assert {"cfg_value", "inference_timesteps", "min_len", "max_len", "cloning"} <= parameters.keys()
    voices = (await client.get("/v1/audio/voices")).json()
    assert {STOCK_VOICE, "random"} <= {voice["id"] for voice in voices["data"]}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"cfg_value": 99}, "cfg_value"),
        ({"inference_timesteps": 51}, "inference_timesteps"),
        ({"cloning": "all"}, "cloning"),
        ({"model": "voxcpm-1.5", "cloning": "reference"}, "cloning"),
        ({"ref_text": "hello"}, "ref_text"),
        ({"voice": "nobody"}, "voice"),
    ],
)
async def test_bad_input_is_explained(client: httpx.AsyncClient, fields: dict[str, Any], named: str) -> None:
    answer = await client.post("/v1/audio/speech", json=body(**fields))
    assert answer.status_code in (400, 404), answer.text
    assert named in answer.text


async def test_leaving_frees_the_slots(client: httpx.AsyncClient) -> None:
    """More often than there are slots."""
    for _ in range(24):
        async with client.stream("POST", "/v1/audio/speech", json=body(input=TEXT * 4)) as answer:
            async for _ in answer.aiter_bytes():
                break
    assert len(await samples(client, fallback=False)) > 1000
