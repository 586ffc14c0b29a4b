"""IndexTTS-2.5 and IndexTTS2 in one graph over HTTP, as configs/indextts2.5-tiny.yaml has it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tiny_indextts
import tiny_indextts25
import yaml
from cluster import PATIENT_S, Cluster

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
TEXT = "The first sentence is short. The second one is a little longer than the first."
CLOSE = 4  # 1e-4 of full scale
RATE_HZ = 22_050
FRAME = 256  # samples


@pytest.fixture(scope="module")
def both_url(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from ray import serve

    from serve_app.app import build
    from serve_app.config import Config

    directory = tmp_path_factory.mktemp("both")
    places = {
        maker.NAME: maker.make_tiny_checkpoint(directory / maker.NAME, GOLDEN)
        for maker in (tiny_indextts, tiny_indextts25)
    }
    args = yaml.safe_load((ROOT / "configs/indextts2.5-tiny.yaml").read_text("utf-8"))["applications"][0][
        "args"
    ]
    for entry in args["models"].values():
        entry["checkpoint"] = f"{places[entry['checkpoint']]}/"
        entry["longest_wait_s"] = PATIENT_S
    config = Config(**args, voices={"url": str(tmp_path_factory.mktemp("store"))})
    serve.run(build(config), name="both", route_prefix="/both")
    yield f"{cluster.url}/both"
    serve.delete("both")


@pytest.fixture
async def client(both_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=both_url, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def recording() -> bytes:
    return next(iter((GOLDEN / "indextts2-front").glob("ref_emo*.wav"))).read_bytes()


def data_url(audio: bytes) -> str:
    return "data:audio/wav;base64," + base64.b64encode(audio).decode()


def body(**fields: Any) -> dict[str, Any]:
    native = {"response_format": "pcm", "sample_rate": RATE_HZ}
    return {"model": "indextts2.5", "input": TEXT, **native, "seed": 7, **fields}


async def samples(client: httpx.AsyncClient, **fields: Any) -> np.ndarray:
    answer = await client.post("/v1/audio/speech", json=body(**fields))
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, dtype="<i2").astype(np.int32)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return len(one) == len(other) and bool(np.abs(one - other).max() <= CLOSE)


async def test_recording_in_streamed_wave_out(client: httpx.AsyncClient, recording: bytes) -> None:
    fields = {"ref_audio": data_url(recording), "response_format": "wav"}
    async with client.stream("POST", "/v1/audio/speech", json=body(**fields)) as answer:
        pieces = [piece async for piece in answer.aiter_bytes()]
    assert answer.status_code == 200
    assert answer.headers["x-model"] == "indextts2.5"
    assert len(pieces) > 1
    wave = b"".join(pieces)
    assert int.from_bytes(wave[24:28], "little") == RATE_HZ
    assert np.abs(np.frombuffer(wave[44:], dtype="<i2")).max() > 50


async def test_the_seed_decides(client: httpx.AsyncClient) -> None:
    first = await samples(client)
    assert same(first, await samples(client))
    assert not same(first, await samples(client, seed=8))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", TEXT),
        ("zh", "你好，世界。今天天气很好！"),
        ("es", "Buenos días. ¿Cómo estás?"),
        ("ar", "مرحبا بالعالم."),
    ],
)
async def test_languages(client: httpx.AsyncClient, language: str, text: str) -> None:
    given = await samples(client, input=text, language=language, max_codes=12)
    assert len(given) > FRAME
    assert same(given, await samples(client, input=text, max_codes=12)), "it was detected as another"


async def test_languages_and_voices_are_listed(client: httpx.AsyncClient) -> None:
    models = {model["id"]: model for model in (await client.get("/v1/audio/models")).json()["data"]}
    assert {"en", "zh", "es", "ar"} <= set(models["indextts2.5"]["languages"])
    assert set(models["indextts2"]["languages"]) == {"zh", "en"}
    assert "IndexTTS-2.5" in models["indextts2.5"]["description"]


async def test_what_a_script_cannot_be_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/audio/speech", json=body(input="Привет, мир."))
    assert answer.status_code == 400
    assert "Arabic script" in answer.json()["error"]["message"]


def _frames(codes: int, speed: float) -> int:
    return int(2 * codes * 1.72 * (1 / speed))


async def test_speed_is_the_length_of_the_codes(client: httpx.AsyncClient) -> None:
    """One segment of the same codes: each speed changes the frames, not the tempo of the samples."""
    lengths = {
        speed: len(await samples(client, input="Hello.", speed=speed, max_codes=10, stream=False))
        for speed in (0.5, 0.8, 1.0, 2.0, 4.0)
    }
    codes = next(n for n in range(1, 11) if FRAME * _frames(n, 1.0) == lengths[1.0])
    for speed in (0.5, 0.8, 1.0, 2.0):
        assert lengths[speed] == FRAME * _frames(codes, speed)
    # Beyond what the model can the rest is a time stretch.
    assert lengths[4.0] == pytest.approx(lengths[2.0] / 2, rel=0.25)


async def test_streaming_without_chunks_equals_one_pass(client: httpx.AsyncClient) -> None:
    fields = {"whole_segments": True, "max_codes": 20}
    assert same(await samples(client, **fields), await samples(client, stream=False, **fields))
    chunked = await samples(client, max_codes=20)
    assert len(chunked) == len(await samples(client, max_codes=20, stream=False))


async def test_sixteen_mixed_requests_of_both_equal_single_ones(client: httpx.AsyncClient) -> None:
    requests: list[dict[str, Any]] = [
        {"seed": 1},
        {"input": "Alone.", "seed": 2, "stream": False},
        {"seed": 3, "num_beams": 3, "max_codes": 20},
        {"input": "Number four, with other steps.", "seed": 4, "diffusion_steps": 3},
        {"seed": 5, "speed": 1.6},
        {"input": "你好，世界。", "seed": 6, "language": "zh"},
        {"seed": 7, "emotion": {"vector": [0.6, 0, 0, 0, 0, 0, 0, 0]}},
        {"seed": 8, "quality": "reference", "max_codes": 15},
    ]
    mixed = [{**fields, "model": model} for fields in requests for model in ("indextts2.5", "indextts2")]
    alone = [await samples(client, **fields) for fields in mixed]
    together = await asyncio.gather(*(samples(client, **fields) for fields in mixed))
    for fields, one, other in zip(mixed, alone, together, strict=True):
        assert same(one, other), fields


async def test_emotions_and_uploaded_voices_with_both(client: httpx.AsyncClient, recording: bytes) -> None:
    upload = await client.post(
        "/v1/audio/voices", data={"name": "Ada"}, files={"audio_sample": ("a.wav", recording, "audio/wav")}
    )
    assert upload.status_code in (200, 201), upload.text
    other = next(iter((GOLDEN / "indextts2-front").glob("ref_spk*.wav"))).read_bytes()
    try:
        for model in ("indextts2.5", "indextts2"):
            fields = {"model": model, "voice": "Ada", "max_codes": 12}
            plain = await samples(client, **fields)
            angry = await samples(client, **fields, emotion={"vector": [0, 0.7, 0, 0, 0, 0, 0, 0]})
            heard = await samples(client, **fields, emotion={"audio": data_url(other)})
            assert not same(plain, angry)
            assert not same(plain, heard)
    finally:
        assert (await client.delete(f"/v1/audio/voices/{upload.json()['id']}")).status_code == 200


async def test_leaving_frees_the_slots(client: httpx.AsyncClient) -> None:
    """More often than there are slots."""
    for _ in range(40):
        async with client.stream("POST", "/v1/audio/speech", json=body(input=TEXT * 3)) as answer:
            async for _ in answer.aiter_bytes():
                break
    assert len(await samples(client, fallback=False)) > FRAME


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_codes": 5000}, "max_codes"),
        ({"speed": 9}, "speed"),
        ({"emotion": {"vector": [1, 2]}}, "vector"),
        ({"max_text_tokens_per_segment": 1000}, "max_text_tokens_per_segment"),
    ],
)
async def test_bad_input_is_explained(client: httpx.AsyncClient, fields: dict[str, Any], named: str) -> None:
    answer = await client.post("/v1/audio/speech", json=body(**fields))
    assert answer.status_code == 400, answer.text
    assert named in answer.text
