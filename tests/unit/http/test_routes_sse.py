"""POST /v1/audio/speech with `stream_format: sse`, in the framing that SDKs of OpenAI read."""

from __future__ import annotations

import base64
import logging

import numpy as np
import pytest
from http_fakes import FakeService, speech
from speech_answers import MEDIA_TYPES, ask, decode, sse

from deployments.core.errors import Unavailable


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
