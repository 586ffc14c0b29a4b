"""POST /v1/audio/speech: what a good request gets."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import numpy as np
import pytest
from call_stack import generators_above
from http_fakes import FakeService, Wire, make_app, speech
from speech_answers import FAST, MEDIA_TYPES, SPEECH, ask, decode

from deployments.core.speech import SpeechRequest, StreamEvent

LOSSY_DELAY_S = 0.13  # padding of the codecs' first and last frames at 24 kHz


@pytest.mark.parametrize("name", MEDIA_TYPES)
async def test_a_format_decodes_to_the_same_sound_streamed_and_buffered(name: str) -> None:
    lengths = []
    for stream in (True, False):
        answer = await ask(FakeService(speech(1.5)), response_format=name, stream=stream)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == MEDIA_TYPES[name]
        samples, rate_hz = decode(answer.content, name)
        assert str(rate_hz) == answer.headers["x-sample-rate"] == ("48000" if name == "opus" else "24000")
        lengths.append(len(samples) / rate_hz)
        assert lengths[-1] == pytest.approx(
            1.5, abs=0.001 if name in {"flac", "wav", "pcm"} else LOSSY_DELAY_S
        )
        middle = samples[len(samples) // 4 : len(samples) // 2]
        assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.4 / np.sqrt(2), rel=0.1)
        loudest = np.argmax(np.abs(np.fft.rfft(middle))) * rate_hz / len(middle)
        assert loudest == pytest.approx(440, abs=5)
    assert lengths[0] == lengths[1]


@pytest.mark.parametrize("pieces", [1, 7, 100])
@pytest.mark.parametrize("speed_left", [1.0, 1.6])
async def test_streamed_samples_are_the_buffered_ones_bit_for_bit(pieces: int, speed_left: float) -> None:
    streamed = await ask(FakeService(speech(1.3, pieces, tempo=speed_left)), response_format="pcm")
    buffered = await ask(FakeService(speech(1.3, 3, tempo=speed_left)), response_format="pcm", stream=False)
    assert streamed.content == buffered.content
    assert len(streamed.content) / 48_000 == pytest.approx(1.3 / speed_left, abs=0.05)


async def test_a_buffered_answer_has_exact_sizes() -> None:
    answer = await ask(FakeService(speech(1.0)), response_format="wav", stream=False)
    data = answer.content
    assert int(answer.headers["content-length"]) == len(data) == 44 + 48_000
    assert data[:4] == b"RIFF"
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    assert data[36:40] == b"data"
    assert struct.unpack("<I", data[40:44])[0] == len(data) - 44
    assert float(answer.headers["x-audio-duration"]) == 1.0
    assert float(answer.headers["x-rtf"]) >= 0


async def test_a_streamed_wav_has_placeholders_and_nothing_after_the_data() -> None:
    answer = await ask(FakeService(speech(1.0)), response_format="wav")
    assert "content-length" not in answer.headers
    assert answer.content[4:8] == answer.content[40:44] == b"\xff" * 4
    assert len(answer.content) == 44 + 48_000


@pytest.mark.slow
async def test_mp3_is_the_default_and_has_no_xing_header() -> None:
    answer = await ask(FakeService())
    assert answer.headers["content-type"] == "audio/mpeg"
    assert not {b"Xing", b"Info", b"ID3"} & {answer.content[i : i + 4].strip(b"\x04") for i in range(200)}


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 48_000])
async def test_pcm_is_24_khz_whatever_the_model(rate_hz: int) -> None:
    answer = await ask(FakeService(speech(0.5, sample_rate_hz=rate_hz)), response_format="pcm")
    assert answer.headers["x-sample-rate"] == "24000"
    assert len(answer.content) == 24_000


@pytest.mark.parametrize("name", MEDIA_TYPES)
async def test_the_sample_rate_can_be_chosen(name: str) -> None:
    answer = await ask(FakeService(speech(0.5)), response_format=name, sample_rate=16_000)
    assert answer.headers["x-sample-rate"] == "16000"
    if name == "pcm":
        assert len(answer.content) == 16_000
    else:
        samples, rate_hz = decode(answer.content, name)
        # Opus always decodes at 48 kHz; the rate is that of its input.
        assert rate_hz == (48_000 if name == "opus" else 16_000)
        assert len(samples) / rate_hz == pytest.approx(0.5, abs=0.15)


async def test_what_is_left_of_the_speed_becomes_a_time_stretch_at_the_same_pitch() -> None:
    answer = await ask(FakeService(speech(2.0, tempo=2.0)), response_format="pcm", speed=4)
    samples, _ = decode(answer.content, "pcm")
    assert len(samples) / 24_000 == pytest.approx(1.0, abs=0.05)
    middle = samples[6000:18_000]
    assert np.argmax(np.abs(np.fft.rfft(middle))) * 24_000 / len(middle) == pytest.approx(440, abs=5)


async def test_the_headers_say_what_was_decided(service: FakeService, client: httpx.AsyncClient) -> None:
    service.script = speech(0.3, voice_cache="hit", ignored=("seed",), reason="fastest")
    body = {**FAST, "lexicon": {}, "näme\n": 1, "x" * 100: 2}
    answer = await client.post(SPEECH, json=body)
    assert answer.headers["x-model"] == "toy"
    assert answer.headers["x-voice"] == "anna"
    assert answer.headers["x-route-reason"] == "fastest"
    assert answer.headers["x-cache"] == "hit"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["server-timing"].startswith("first_audio;dur=")
    ignored = answer.headers["x-ignored-fields"].split(", ")
    assert {"lexicon", "n\\xe4me\\n", "seed", "x" * 60} <= set(ignored)


async def test_nothing_ignored_nothing_said(client: httpx.AsyncClient) -> None:
    assert "x-ignored-fields" not in (await client.post(SPEECH, json=FAST)).headers


async def test_many_unknown_fields_do_not_make_a_huge_header(client: httpx.AsyncClient) -> None:
    answer = await client.post(SPEECH, json={**FAST, **{f"field{i}": i for i in range(500)}})
    assert answer.status_code == 200
    assert len(answer.headers["x-ignored-fields"]) < 2000


async def test_a_voice_of_any_name_fits_into_the_headers(
    service: FakeService, client: httpx.AsyncClient
) -> None:
    service.script = speech(0.3, voice="小明 é\n")
    answer = await client.post(SPEECH, json=FAST)
    assert answer.status_code == 200
    assert answer.headers["x-voice"] == "%E5%B0%8F%E6%98%8E %C3%A9%0A"


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"voice": "anna"}, "anna"),
        ({"voice": {"id": "anna"}}, "anna"),
        ({"speaker": "ben"}, "ben"),
        ({"speaker_id": "ben"}, "ben"),
        ({"voice": None}, None),
        ({"voice": None, "speaker": "ben"}, "ben"),
        ({}, None),
    ],
)
async def test_a_voice_has_several_names(
    service: FakeService, client: httpx.AsyncClient, fields: dict[str, Any], wanted: str | None
) -> None:
    assert (await client.post(SPEECH, json={**FAST, **fields})).status_code == 200
    assert service.requests[0].voice == wanted


async def test_of_two_voices_one_is_reported_as_ignored(
    service: FakeService, client: httpx.AsyncClient
) -> None:
    answer = await client.post(SPEECH, json={**FAST, "voice": "anna", "speaker": "ben"})
    assert service.requests[0].voice == "anna"
    assert answer.headers["x-ignored-fields"] == "speaker"


async def test_the_request_reaches_the_service_as_it_was_meant(
    service: FakeService, client: httpx.AsyncClient
) -> None:
    body = {
        "input": " Grüße, 世界! ",
        "model": "tts-1",
        "speed": 2,
        "seed": 7,
        "language": "de",
        "pause_ms": 0,
        "text_cleaning": False,
        "latency_budget_ms": 250.5,
        "fallback": False,
        "stream": False,
        "response_format": "pcm",
    }
    await client.post(SPEECH, json=body, headers={"x-request-id": "abc"})
    (request,) = service.requests
    assert request.request_id == "abc"
    assert request.text == body["input"]
    same = ("model", "speed", "seed", "language", "pause_ms", "latency_budget_ms", "fallback", "stream")
    for name in (*same, "text_cleaning"):
        assert getattr(request, name) == body[name]


async def test_what_nobody_knows_reaches_the_model_by_its_name(
    service: FakeService, client: httpx.AsyncClient
) -> None:
    """Lists and objects without their content, which may be large and nested without end."""
    own = {"steps": 4.0, "warmth": 1, "breath": True, "style": "news"}
    others = {"lexicon": {"a": "b"}, "cuts": [1, 2], "wished": "so"}
    nulls = {"pitch_hz": None, "gone": None}
    answer = await client.post(SPEECH, json={**FAST, **own, **others, **nulls})
    assert answer.status_code == 200, answer.text
    assert service.requests[0].params == {**own, "lexicon": {}, "cuts": [], "wished": "so"}
    assert answer.headers["x-ignored-fields"] == "cuts, lexicon, wished"


async def test_two_requests_have_two_ids(service: FakeService, client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await client.post(SPEECH, json=FAST)
    assert len({request.request_id for request in service.requests}) == 2


@pytest.mark.slow
async def test_audio_leaves_before_the_text_is_finished() -> None:
    held = asyncio.Event()
    events = speech(4.0, 8)

    class Holding(FakeService):
        async def stream(self, request: Any) -> Any:
            for event in events[:4]:
                yield event
            await held.wait()
            for event in events[4:]:
                yield event

    for name in MEDIA_TYPES:
        held.clear()
        wire = Wire(make_app(Holding()), {"input": "Hello.", "response_format": name})
        task = asyncio.create_task(wire.run())
        for _ in range(200):
            await asyncio.sleep(0.002)
            if len(b"".join(wire.data)) > 1000:
                break
        assert len(b"".join(wire.data)) > 1000, name
        held.set()
        await task
        assert wire.ended_cleanly


class DeepService(FakeService):
    """Counts the generators between the last one before HTTP, which is this one, and the socket."""

    def __init__(self) -> None:
        super().__init__()
        self.generators: set[int] = set()

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        for event in speech(1.0):
            self.generators.add(generators_above())
            yield event


@pytest.mark.parametrize("fields", [{}, {"stream_format": "sse"}])
async def test_audio_passes_few_generators(fields: dict[str, str]) -> None:
    """Three lie before these: two of a pipeline and the router's."""
    service = DeepService()
    await ask(service, response_format="pcm", **fields)
    assert max(service.generators) <= 4


@pytest.mark.parametrize(("filler_ms", "told"), [(0.0, None), (412.6, "413")])
async def test_a_filler_is_told(filler_ms: float, told: str | None) -> None:
    service = FakeService(speech(1.0, filler_ms=filler_ms))
    answer = await ask(service, response_format="pcm", filler=True)
    assert answer.headers.get("x-filler-ms") == told
    assert service.requests[0].filler is True
