"""One-off cloning, emotion and parameters of a speech request, as they reach the router."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from http_fakes import body_schema
from httpx import AsyncClient
from voices_fake import Clip, VoiceService

from deployments.core.speech import Emotion, SpeechRequest

SPEECH = "/v1/audio/speech"
VECTOR = [0.5, 0, 0, 0.1, 0, 0, 1.2, 0]


def data_url(audio: bytes, kind: str = "audio/wav") -> str:
    return f"data:{kind};base64,{base64.b64encode(audio).decode()}"


async def received(http: AsyncClient, service: VoiceService, **fields: Any) -> tuple[SpeechRequest, str]:
    """The request as the router got it, and X-Ignored-Fields."""
    answer = await http.post(SPEECH, json={"input": "Hello.", "response_format": "pcm", **fields})
    assert answer.status_code == 200, answer.text
    return service.requests[-1], answer.headers.get("x-ignored-fields", "")


async def refused(http: AsyncClient, **fields: Any) -> tuple[int, str | None, str]:
    answer = await http.post(SPEECH, json={"input": "Hello.", **fields})
    error = answer.json()["error"]
    return answer.status_code, error["param"], error["message"]


async def test_plain_request_holds_nothing_that_was_not_asked(
    http: AsyncClient, service: VoiceService
) -> None:
    request, ignored = await received(http, service)
    assert (request.reference_audio, request.reference_text, request.emotion) == (None, None, None)
    assert (request.instructions, request.quality, dict(request.params), ignored) == (None, None, {}, "")


async def test_one_off_voice(http: AsyncClient, service: VoiceService, clip: Clip) -> None:
    audio = clip()
    request, ignored = await received(http, service, ref_audio=data_url(audio), ref_text="hi", voice="alloy")
    assert (request.reference_audio, request.reference_text) == (audio, "hi")
    assert (request.voice, ignored) == (None, "voice")


@pytest.mark.parametrize(
    "place", ["https://host/a.wav", "http://host/a.wav", "/etc/passwd", "file:///a", "a.wav", "data"]
)
@pytest.mark.parametrize("field", ["ref_audio", "emo_audio", "emotion.audio"])
async def test_nothing_is_fetched_or_opened(
    http: AsyncClient, service: VoiceService, field: str, place: str
) -> None:
    fields = {"emotion": {"audio": place}} if field == "emotion.audio" else {field: place}
    status, param, message = await refused(http, **fields)
    assert (status, param) == (400, field)
    assert "only data:audio" in message
    assert not service.requests


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"ref_audio": "data:audio/wav,plain"}, 400, "ref_audio"),
        ({"ref_audio": "data:audio/wav;base64,###"}, 400, "ref_audio"),
        ({"ref_audio": "data:text/plain;base64,aGk="}, 415, "ref_audio"),
        ({"ref_audio": 7}, 400, "ref_audio"),
        ({"ref_text": "hi"}, 400, "ref_text"),
        ({"emotion": {}}, 400, "emotion"),
        ({"emotion": {"alpha": 0.5}}, 400, "emotion"),
        ({"emotion": "happy"}, 400, "emotion"),
        ({"emotion": {"vectr": VECTOR}}, 400, "emotion"),
        ({"emotion": {"vector": VECTOR[:7]}}, 400, "emotion"),
        ({"emotion": {"vector": [*VECTOR[:7], -0.1]}}, 400, "emotion"),
        ({"emotion": {"vector": [*VECTOR[:7], 1.3]}}, 400, "emotion"),
        ({"emotion": {"vector": [*VECTOR[:7], "1"]}}, 400, "emotion"),
        ({"emotion": {"vector": VECTOR, "alpha": 1.1}}, 400, "emotion"),
        ({"emotion": {"text": ""}}, 400, "emotion"),
        ({"emotion": {"text": "sad", "vector": VECTOR}}, 400, "emotion.vector"),
        ({"emotion": {"text": "sad"}, "emo_vector": VECTOR}, 400, "emotion"),
        ({"emotion": {"text": "sad"}, "emo_alpha": 1.0}, 400, "emotion"),
        ({"emo_text": "sad", "emo_vector": VECTOR}, 400, "emo_vector"),
        ({"emo_alpha": -1, "emo_text": "sad"}, 400, "emo_alpha"),
        ({"quality": "high"}, 400, "quality"),
        ({"diffusion_steps": 0}, 400, "diffusion_steps"),
        ({"diffusion_steps": 51}, 400, "diffusion_steps"),
        ({"diffusion_steps": 5.5}, 400, "diffusion_steps"),
        ({"guidance": -0.1}, 400, "guidance"),
        ({"num_beams": 9}, 400, "num_beams"),
        ({"top_k": -1}, 400, "top_k"),
        ({"top_k": [1]}, 400, "top_k"),
        ({"top_k": {"value": 1}}, 400, "top_k"),
        ({"extra_params": {"top_k": []}}, 400, "top_k"),
        ({"top_p": 1.1}, 400, "top_p"),
        ({"temperature": "1"}, 400, "temperature"),
        ({"repetition_penalty": 0.5}, 400, "repetition_penalty"),
        ({"max_text_tokens_per_segment": 5}, 400, "max_text_tokens_per_segment"),
        ({"extra_params": {"num_beams": 9}}, 400, "num_beams"),
        ({"extra_params": {"num_beams": 2}, "num_beams": 2}, 400, "num_beams"),
        ({"extra_params": [1]}, 400, "extra_params"),
    ],
)
async def test_the_field_at_fault_is_named(
    http: AsyncClient, service: VoiceService, fields: dict[str, Any], status: int, param: str
) -> None:
    found, named, message = await refused(http, **fields)
    assert (found, named) == (status, param), message
    assert message
    assert not service.requests


async def test_emotion_in_three_spellings(http: AsyncClient, service: VoiceService, clip: Clip) -> None:
    expected = Emotion(vector=tuple(VECTOR), alpha=0.5)
    for fields in (
        {"emotion": {"vector": VECTOR, "alpha": 0.5}},
        {"emo_vector": VECTOR, "emo_alpha": 0.5},
        {"extra_params": {"emo_vector": VECTOR, "emo_alpha": 0.5}},
    ):
        assert await received(http, service, **fields) == (service.requests[-1], "")
        assert service.requests[-1].emotion == expected
    request, _ = await received(http, service, emotion={"text": "sad", "random": True})
    assert request.emotion == Emotion(text="sad", random=True)
    request, _ = await received(http, service, emo_audio=data_url(clip()))
    assert request.emotion == Emotion(audio=clip())
    assert (await refused(http, emotion={"audio": data_url(clip()), "random": True}))[1] == "emotion.random"


async def test_what_changes_nothing_is_reported(http: AsyncClient, service: VoiceService) -> None:
    request, ignored = await received(
        http, service, emo_alpha=0.5, colour="red", extra_params={"x": 1, "top_k": 3}
    )
    assert (request.emotion, dict(request.params)) == (None, {"colour": "red", "x": 1, "top_k": 3})
    assert ignored == "colour, emo_alpha, extra_params.x"


async def test_parameters_reach_the_model_as_the_client_wrote_them(
    http: AsyncClient, service: VoiceService
) -> None:
    params: dict[str, Any] = {
        "diffusion_steps": 10,
        "guidance": 0,
        "temperature": 0.7,
        "max_text_tokens_per_segment": 60,
    }
    request, ignored = await received(http, service, quality="fast", num_beams=None, **params)
    assert (request.quality, dict(request.params), ignored) == ("fast", params, "")


async def test_instructions_are_passed_on(http: AsyncClient, service: VoiceService) -> None:
    request, _ = await received(http, service, instructions="whisper")
    assert (request.instructions, request.emotion) == ("whisper", None)


async def test_the_body_is_documented(http: AsyncClient) -> None:
    schema = body_schema((await http.get("/openapi.json")).json(), SPEECH)
    emotion = schema["properties"]["emotion"]["anyOf"][0]["properties"]
    assert emotion.keys() == {"vector", "audio", "text", "alpha", "random"}
    assert schema["additionalProperties"] is True
    assert (
        "diffusion_steps" not in schema["properties"]
    )  # the models say what they have: GET /v1/audio/models
