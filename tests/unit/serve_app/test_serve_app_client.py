from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import RayServeException

from deployments.core.errors import InvalidRequest, SpeechError, Unavailable
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd, StreamStart
from serve_app.client import RouterClient, Speech, Voicegraph, cause_of

START = StreamStart("toy", "anna", 16_000, "test")
REQUEST = SpeechRequest("id", "Hello.")


def chunk(*values: float) -> AudioChunk:
    return AudioChunk(np.array(values, dtype=np.float32), 0)


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("Router.stream", "traceback", cause)


class Response:
    """An answer of a handle: awaitable, iterable, cancellable."""

    def __init__(self, items: list[Any]) -> None:
        self._items: Iterator[Any] = iter(items)
        self.cancelled = False

    def __aiter__(self) -> Response:
        return self

    async def __anext__(self) -> Any:
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            return item
        raise StopAsyncIteration

    def __await__(self) -> Any:
        return self.__anext__().__await__()

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """A deployment handle every method of which answers with the same items."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self.responses: list[Response] = []

    def options(self, **_: Any) -> Handle:
        return self

    def __getattr__(self, name: str) -> Any:
        return self

    def remote(self, *_: Any, **__: Any) -> Response:
        self.responses.append(Response(self.items))
        return self.responses[-1]


def graph(*items: Any) -> tuple[Handle, Voicegraph]:
    handle = Handle(*items)
    return handle, Voicegraph(RouterClient(handle))  # type: ignore[arg-type]


async def test_speak_joins_the_chunks() -> None:
    handle, tts = graph(START, chunk(1, 2), chunk(3), StreamEnd(1.0))
    speech = await tts.speak("Hello.")
    assert speech.samples.tolist() == [1, 2, 3]
    assert (speech.model, speech.voice, speech.duration_s) == ("toy", "anna", 3 / 16_000)
    assert handle.responses[0].cancelled


async def test_stream_gives_samples_and_events_everything() -> None:
    assert [s.tolist() async for s in graph(START, chunk(1), StreamEnd(1))[1].stream("x")] == [[1]]
    events = [event async for event in graph(START, chunk(1), StreamEnd(1))[1].events("x")]
    assert [type(event) for event in events] == [StreamStart, AudioChunk, StreamEnd]


async def test_a_stream_without_audio_is_an_empty_array() -> None:
    assert isinstance(await graph(START, StreamEnd(0))[1].speak("x"), Speech)


@pytest.mark.parametrize("items", [[], [START], [START, chunk(1)]])
async def test_a_cut_stream_is_not_a_speech(items: list[Any]) -> None:
    with pytest.raises(Unavailable, match="ended before"):
        await graph(*items)[1].speak("x")


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_leaving_a_stream_stops_the_work(taken: int) -> None:
    handle, tts = graph(START, chunk(1), chunk(2), chunk(3), StreamEnd(1))
    stream = tts.stream("x")
    for _ in range(taken):
        await anext(stream)
    await stream.aclose()
    assert [response.cancelled for response in handle.responses] == ([True] if taken else [])


ERRORS = [
    (task_error(InvalidRequest("no", param="input")), InvalidRequest, "no"),
    (task_error(task_error(InvalidRequest("no"))), InvalidRequest, "no"),
    (task_error(InvalidRequest("no")).as_instanceof_cause(), InvalidRequest, "no"),
    (task_error(ValueError("bug")), RayTaskError, "traceback"),
    (ActorDiedError(), Unavailable, "try again"),
    (RayServeException("no replicas"), Unavailable, "try again"),
]


@pytest.mark.parametrize(("error", "kind", "message"), ERRORS)
async def test_errors_arrive_as_they_were_raised_in_the_graph(
    error: Exception, kind: type[Exception], message: str
) -> None:
    handle = Handle(START, error)
    with pytest.raises(kind, match=message) as caught:
        [event async for event in RouterClient(handle).stream(REQUEST)]  # type: ignore[arg-type]
    assert handle.responses[0].cancelled
    if kind is not RayTaskError:
        assert not isinstance(caught.value, RayTaskError)
    for ask in (RouterClient(Handle(error)).catalogue, RouterClient(Handle(error)).status):  # type: ignore[arg-type]
        with pytest.raises(kind, match=message):
            await ask()


def test_the_fields_of_an_error_survive() -> None:
    found = cause_of(task_error(Unavailable("down", code="x", retry_after_s=3)))
    assert isinstance(found, SpeechError)
    assert (found.code, found.retry_after_s) == ("x", 3)


def test_a_request_takes_the_fields_of_speech_request() -> None:
    _, tts = graph()
    request = tts.request("Hi.", voice="anna", speed=2.0)
    assert (request.text, request.voice, request.speed) == ("Hi.", "anna", 2.0)
    assert request.request_id != tts.request("Hi.").request_id
    with pytest.raises(TypeError, match="colour"):
        tts.request("Hi.", colour="red")
