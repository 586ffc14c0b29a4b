"""POST /v1/audio/speech: what a good request gets, and how an answer ends when something goes wrong."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import struct
from functools import partial
from typing import Any

import av
import httpx
import numpy as np
import pytest
from api_fake import MODEL_RATE_HZ, FakeService, Wire, make_app, make_client, speech, tone

from deployments.core.errors import Overloaded, Unavailable
from deployments.core.speech import AudioChunk, StreamEnd, StreamStart

SPEECH = "/v1/audio/speech"
MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
LOSSY_DELAY_S = 0.13  # padding of the codecs' first and last frames at 24 kHz
FAST = {"input": "Hello.", "response_format": "pcm"}
START = StreamStart("toy", "anna", MODEL_RATE_HZ, "test")


async def ask(service: FakeService, **body: Any) -> httpx.Response:
    async with make_client(service) as client:
        return await client.post(SPEECH, json={"input": "Hello.", **body})


def decode(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Samples and rate."""
    if name == "pcm":
        return np.frombuffer(data, "<i2") / 32768, 24_000
    with av.open(io.BytesIO(data)) as container:
        frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
        rate_hz = container.streams.audio[0].rate
    samples = np.concatenate(frames)
    return (samples / 32768 if samples.dtype == np.int16 else samples), rate_hz


def sse(text: str) -> list[tuple[str, dict[str, Any]]]:
    """(event, data) of a stream in the exact framing that OpenAI's SDKs read."""
    assert text.endswith("\n\n")
    found = []
    for block in text[:-2].split("\n\n"):
        first, second = block.split("\n")
        assert first.startswith("event: ")
        assert second.startswith("data: ")
        found.append((first.removeprefix("event: "), json.loads(second.removeprefix("data: "))))
    return found


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
        "latency_budget_ms": 250.5,
        "fallback": False,
        "stream": False,
        "response_format": "pcm",
    }
    await client.post(SPEECH, json=body, headers={"x-request-id": "abc"})
    (request,) = service.requests
    assert request.request_id == "abc"
    assert request.text == body["input"]
    for name in ("model", "speed", "seed", "language", "pause_ms", "latency_budget_ms", "fallback", "stream"):
        assert getattr(request, name) == body[name]


async def test_two_requests_have_two_ids(service: FakeService, client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await client.post(SPEECH, json=FAST)
    assert len({request.request_id for request in service.requests}) == 2


# SSE


@pytest.mark.parametrize("name", MEDIA_TYPES)
async def test_the_deltas_of_sse_are_one_file(name: str) -> None:
    body = {"response_format": name, "stream_format": "sse"}
    answer = await ask(FakeService(speech(1.0)), **body)
    assert answer.headers["content-type"].split(";")[0] == "text/event-stream"
    events = sse(answer.text)
    assert [event for event, _ in events] == [data["type"] for _, data in events]
    *deltas, (last, done) = events
    assert len(deltas) > 1
    assert {event for event, _ in deltas} == {"speech.audio.delta"}
    file = b"".join(base64.b64decode(data["audio"], validate=True) for _, data in deltas)
    plain = (await ask(FakeService(speech(1.0)), response_format=name)).content
    if name == "opus":  # its serial number is random
        assert np.array_equal(decode(file, name)[0], decode(plain, name)[0])
    else:
        assert file == plain
    assert last == "speech.audio.done"
    assert done["usage"] == {"input_tokens": 6, "output_tokens": 50, "total_tokens": 56}
    assert "[DONE]" not in answer.text


async def test_sse_tells_of_a_failure_in_the_middle() -> None:
    service = FakeService([*speech(1.0)[:3], Unavailable("the stage crashed", code="stage_lost")])
    answer = await ask(service, stream_format="sse", response_format="pcm")
    assert answer.status_code == 200
    *deltas, (last, error) = sse(answer.text)
    assert deltas
    assert {event for event, _ in deltas} == {"speech.audio.delta"}
    assert last == "speech.audio.error"
    assert error["error"] == {
        "message": "the stage crashed",
        "type": "server_error",
        "param": None,
        "code": "stage_lost",
    }
    assert service.closed == 1


async def test_sse_tells_of_a_cut_stream() -> None:
    answer = await ask(FakeService(speech(1.0)[:3]), stream_format="sse", response_format="pcm")
    assert sse(answer.text)[-1][0] == "speech.audio.error"


async def test_sse_tells_of_an_unforeseen_failure_without_its_details(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("ray.serve")
    logger.addHandler(caplog.handler)
    service = FakeService([*speech(1.0)[:3], RuntimeError("secret path")])
    answer = await ask(service, stream_format="sse", response_format="pcm")
    logger.removeHandler(caplog.handler)
    event, data = sse(answer.text)[-1]
    assert event == "speech.audio.error"
    assert "secret" not in answer.text
    assert data["error"]["code"] == "internal_error"
    assert "secret path" in caplog.text


# Failures


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
@pytest.mark.parametrize("before", [[], [START]])
@pytest.mark.parametrize(
    ("make_error", "status", "kind", "retry"),
    [
        (partial(Overloaded, "full", retry_after_s=1.2), 429, "rate_limit_error", "2"),
        (partial(Unavailable, "full", retry_after_s=5), 503, "server_error", "5"),
        (partial(Unavailable, "full", code="deadline_exceeded"), 504, "server_error", None),
    ],
)
async def test_an_error_before_the_first_audio_has_its_status(
    before: list[Any],
    make_error: partial[Unavailable],
    status: int,
    kind: str,
    retry: str | None,
    stream_format: str,
    stream: bool,
) -> None:
    service = FakeService([*before, make_error()])
    answer = await ask(service, stream_format=stream_format, stream=stream)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["type"] == kind
    assert answer.json()["error"]["message"] == "full"
    assert answer.headers.get("retry-after") == retry
    assert service.closed == 1


@pytest.mark.parametrize(
    "script",
    [[], [START], [AudioChunk(tone(0.1), 0), StreamEnd(0.1)], [START, START], [START, StreamEnd(0.0)]],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_stream_without_audio_is_an_error(script: list[Any], stream: bool) -> None:
    service = FakeService(script)
    answer = await ask(service, stream=stream)
    assert answer.status_code == 503
    assert service.closed == 1


@pytest.mark.parametrize("name", MEDIA_TYPES)
@pytest.mark.parametrize("end", [[Unavailable], [RuntimeError], []])
async def test_a_failure_after_the_first_byte_breaks_the_answer(
    name: str, end: list[type[Exception]]
) -> None:
    service = FakeService([*speech(2.0)[:4], *(kind("crashed") for kind in end)])
    wire = Wire(make_app(service), {"input": "Hello.", "response_format": name})
    with pytest.raises(Exception, match=r"crashed|already started|the model stopped"):
        await wire.run()
    assert wire.messages[0]["status"] == 200
    assert wire.data
    assert not wire.ended_cleanly
    assert service.closed == 1


async def test_a_failure_in_a_buffered_answer_has_its_status() -> None:
    service = FakeService([*speech(2.0)[:4], Unavailable("crashed", retry_after_s=1)])
    answer = await ask(service, stream=False)
    assert answer.status_code == 503
    assert service.closed == 1


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
@pytest.mark.parametrize("leave_after", [0, 1, 2, 4])
@pytest.mark.usefixtures("no_errors_logged")
async def test_a_client_that_leaves_stops_the_service(
    leave_after: int, stream_format: str, spec_version: str
) -> None:
    script = [item for event in speech(8.0, 40) for item in (event, 0.002)]
    service = FakeService(script)
    body = {**FAST, "stream_format": stream_format}
    wire = Wire(make_app(service), body, leave_after, spec_version)
    await asyncio.wait_for(wire.run(), 5)
    assert service.closed == service.opened == 1
    assert not wire.ended_cleanly
    assert len(wire.data) <= leave_after + 2


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02, 0.05])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_cancelling_the_request_stops_the_service(
    after_s: float, stream: bool, stream_format: str
) -> None:
    """Ray Serve cancels the task of a request whose client has left."""
    script = [0.01, *(item for event in speech(8.0, 40) for item in (event, 0.004))]
    service = FakeService(script)
    wire = Wire(make_app(service), {**FAST, "stream": stream, "stream_format": stream_format})
    task = asyncio.create_task(wire.run())
    await asyncio.sleep(after_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.closed == service.opened
    assert not wire.ended_cleanly


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_cancelling_at_any_turn_of_the_loop_stops_the_service(stream: bool, stream_format: str) -> None:
    """Also between the first audio and the first byte, when nobody has asked the body for anything yet."""
    for turns in range(60):
        service = FakeService([0, *(item for event in speech(0.1, 20) for item in (event, 0))])
        body = {**FAST, "stream": stream, "stream_format": stream_format}
        task = asyncio.create_task(Wire(make_app(service), body).run())
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert service.closed == service.opened, f"cancelled after {turns} turns"
    assert turns > 10


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
