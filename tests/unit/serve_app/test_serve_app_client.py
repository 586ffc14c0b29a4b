from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import RayServeException

from deployments.core.deadline import NEVER
from deployments.core.errors import InvalidRequest, SpeechError, Unavailable
from deployments.core.speech import AudioChunk, Emotion, SpeechRequest, StreamEnd, StreamStart
from serve_app import client
from serve_app.client import MAX_GRPC_BYTES, RequestFields, RouterClient, Speech, Voicegraph, cause_of

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


def test_the_fields_of_a_request_are_those_of_speech_request() -> None:
    own = {"request_id", "text", "part_of"}
    of_keys = {"key_id", "voices_of"}  # whoever is inside of the cluster needs none
    assert (
        RequestFields.__annotations__.keys()
        == {field.name for field in fields(SpeechRequest)} - own - of_keys
    )


def test_parameters_of_a_model_have_a_place_of_their_own() -> None:
    _, tts = graph()
    assert tts.request("Hi.", params={"top_k": 3, "warmth": 0.5}).params == {"top_k": 3, "warmth": 0.5}
    with pytest.raises(TypeError, match=r"a request has no top_k; .*params=\{'top_k': …\}"):
        tts.request("Hi.", top_k=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"speed": 9}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"speed": True}, "speed"),
        ({"seed": -1}, "seed"),
        ({"language": "x" * 61}, "language"),
        ({"pause_ms": -1}, "pause_ms"),
        ({"latency_budget_ms": 0}, "latency_budget_ms"),
        ({"voice": ""}, "voice"),
        ({"instructions": "x" * 4097}, "instructions"),
        ({"reference_text": "x" * 4097}, "ref_text"),
        ({"emotion": Emotion()}, "emotion"),
        ({"emotion": Emotion(vector=(0.5,) * 7)}, "vector"),
        ({"emotion": Emotion(text="sad", audio=b"RIFF")}, "emotion.audio"),
        ({"emotion": Emotion(audio=b"RIFF", random=True)}, "emotion.random"),
    ],
)
def test_what_http_would_refuse_is_refused_here(wrong: dict[str, Any], param: str) -> None:
    _, tts = graph()
    with pytest.raises(InvalidRequest) as caught:
        tts.request("Hi.", **wrong)
    assert caught.value.param == param


def test_what_http_would_take_is_taken() -> None:
    _, tts = graph()
    emotion = Emotion(vector=(0.5,) * 8, alpha=0.3)
    request = tts.request(
        "Hi.", speed=2, emotion=emotion, reference_audio=b"RIFF", deadline=NEVER, quality="fast", voice=None
    )
    assert (request.speed, request.emotion, request.reference_audio) == (2, emotion, b"RIFF")
    assert tts.request("Hi.", emotion=Emotion(audio=b"RIFF")).emotion == Emotion(audio=b"RIFF")


@pytest.mark.parametrize(
    ("large", "request_"),
    [
        (False, SpeechRequest("id", "Hello.")),
        (False, SpeechRequest("id", "x" * 4096, params={"top_k": 3}, reference_audio=bytes(2_900_000))),
        (True, SpeechRequest("id", "x" * 1_000_000)),
        (True, SpeechRequest("id", "Hello.", reference_audio=bytes(3_000_001))),
        (True, SpeechRequest("id", "Hello.", emotion=Emotion(audio=bytes(3_000_001)))),
        (True, SpeechRequest("id", "Hello.", params={"colour": "x" * 1_000_000})),
        (True, SpeechRequest("id", "Hello.", params={f"field{n}": n for n in range(60_000)})),
    ],
)
async def test_large_messages_do_not_go_by_grpc(large: bool, request_: SpeechRequest) -> None:
    taken: list[dict[str, Any]] = []

    class WithOptions(Handle):
        """Notes with what options a call was made."""

        def __init__(self, options: dict[str, Any]) -> None:
            super().__init__(START, StreamEnd(0))
            self.chosen = options

        def options(self, **options: Any) -> Handle:
            return WithOptions(options)

        def remote(self, *_: Any, **__: Any) -> Response:
            taken.append(self.chosen)
            return super().remote()

    [event async for event in RouterClient(WithOptions({})).stream(request_)]  # type: ignore[arg-type]
    assert taken == [{"stream": True} if large else {"stream": True, "_by_reference": False}]
    assert len(pickle.dumps(request_)) < MAX_GRPC_BYTES or large


async def test_another_router_is_asked_where_one_dies_before_its_first_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "RETRY_PAUSES_S", (0.0, 0.0))

    class Dying(Handle):
        """Dies over so many calls, each after these items."""

        def __init__(self, deaths: int, *items: Any) -> None:
            super().__init__(START, chunk(1), StreamEnd(1.0))
            self.deaths, self.before = deaths, items

        def remote(self, *_: Any, **__: Any) -> Response:
            if len(self.responses) < self.deaths:
                self.responses.append(Response((*self.before, ActorDiedError())))
                return self.responses[-1]
            return super().remote()

    for deaths, asked in ((1, 2), (2, 3)):
        handle = Dying(deaths)
        events = [event async for event in RouterClient(handle).stream(REQUEST)]  # type: ignore[arg-type]
        assert [type(event) for event in events] == [StreamStart, AudioChunk, StreamEnd]
        assert len(handle.responses) == asked
        assert all(response.cancelled for response in handle.responses)
    for handle, asked in ((Dying(3), 3), (Dying(1, START), 1)):
        with pytest.raises(Unavailable, match="try again"):
            [event async for event in RouterClient(handle).stream(REQUEST)]  # type: ignore[arg-type]
        assert len(handle.responses) == asked
