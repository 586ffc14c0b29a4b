"""The graph from inside: what the ingress uses, and `connect()` for Python code on the same machine or cluster."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import numpy as np
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import RayServeException
from typing_extensions import Unpack

from deployments.core.catalogue import Catalogue, VoiceCard
from deployments.core.command_line import start
from deployments.core.deadline import Deadline
from deployments.core.errors import SpeechError, Unavailable
from deployments.core.ray_internals import by_value
from deployments.core.speech import (
    AudioChunk,
    Emotion,
    Samples,
    SpeechRequest,
    StreamEnd,
    StreamEvent,
    StreamFailed,
    StreamStart,
)
from deployments.voices.registered_voice import NewVoice, RegisteredVoice, VoiceChanges
from serve_app.blocking import BlockingVoicegraph
from serve_app.http.schema import check_request
from serve_app.observe.now import ModelNow
from serve_app.running import join_cluster

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

    from deployments.voices.library import Outcome
    from serve_app.routing.decision import Decision

T = TypeVar("T")

APPLICATION = "voicegraph"
ROUTER = "Router"
MAX_GRPC_BYTES = 3_000_000  # gRPC between replicas refuses messages above 4 MB
MAX_CHARACTER_BYTES = 4  # of UTF-8
NUMBER_BYTES = 32  # with its frame
RETRY_PAUSES_S = (
    0.1,
    1.0,
    2.0,
)  # Serve learns of a death within its health check's period and may name the dead again
ROUTER_GONE = "the router cannot work on this request now; try again"


class RouterLost(Unavailable):
    """The router that worked on a request died."""


class RouterClient:
    """Typed access to the Router deployment. Errors of the graph arrive as the SpeechError that was raised there."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = by_value(handle)
        self._streams = by_value(handle, stream=True)
        self._large = handle
        self._large_streams = handle.options(stream=True)

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        """StreamStart, AudioChunks, StreamEnd. Closing the generator stops the work in every stage. Where a router dies
        before its first event another one is asked."""
        pauses_s = iter(RETRY_PAUSES_S)
        while True:
            begun = False
            async with aclosing(self._stream_once(request)) as events:
                try:
                    async for event in events:
                        begun = True
                        yield event
                    return
                except RouterLost:
                    pause_s = next(pauses_s, None)
                    if begun or pause_s is None:
                        raise
            await asyncio.sleep(pause_s)

    async def _stream_once(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        streams = self._large_streams if _most_bytes(request) > MAX_GRPC_BYTES else self._streams
        response: DeploymentResponseGenerator[StreamEvent] = streams.stream.remote(request)  # type: ignore[assignment]
        try:
            with _speech_errors():
                async for event in response:
                    if isinstance(event, StreamFailed):
                        raise event.error
                    yield event
        finally:
            # Over gRPC neither `break` nor a lost client stops the callee by itself.
            response.cancel()

    async def route(self, request: SpeechRequest) -> Decision:
        """What would become of the request if it came now."""
        handle = self._large if _most_bytes(request) > MAX_GRPC_BYTES else self._handle
        return await _result(handle.route.remote(request))

    async def catalogue(self, *, voices: bool = True) -> Catalogue:
        """Models and, if asked for, voices; without them no store is looked at."""
        with _speech_errors():
            catalogue: Catalogue = await self._handle.catalogue.remote(voices)
        return catalogue

    async def now(self) -> tuple[ModelNow, ...]:
        """What the models are doing, as one router sees it."""
        with _speech_errors():
            now: tuple[ModelNow, ...] = await self._handle.now.remote()
        return now

    async def status(self) -> dict[str, bool]:
        with _speech_errors():
            status: dict[str, bool] = await self._handle.status.remote()
        return status

    async def register_voice(self, voice: NewVoice) -> RegisteredVoice:
        """Keep a recording as a voice of every model that clones."""
        return await _result(self._large.register_voice.remote(voice))

    async def registered_voice(self, name: str) -> RegisteredVoice:
        """The uploaded voice of that id, name or alias."""
        return await _result(self._handle.registered_voice.remote(name))

    async def update_voice(self, name: str, changes: VoiceChanges) -> RegisteredVoice:
        return await _result(self._handle.update_voice.remote(name, changes))

    async def delete_voice(self, name: str) -> str:
        """Delete an uploaded voice for good; gives its id."""
        return await _result(self._handle.delete_voice.remote(name))

    async def voice_sample(self, name: str) -> tuple[str, bytes]:
        """Media type and bytes of the recording."""
        return await _result(self._large.voice_sample.remote(name))

    async def preload_voice(self, name: str) -> dict[str, Outcome]:
        """Get a voice ready in every model that clones; says by model where its profile was found."""
        return await _result(self._handle.preload_voice.remote(name))


async def _result(response: Awaitable[T | SpeechError]) -> T:
    """What the router answered; an error that came as a value is raised."""
    with _speech_errors():
        outcome = await response
    if isinstance(outcome, SpeechError):
        raise outcome
    return outcome


def _most_bytes(request: SpeechRequest) -> int:
    """What a request takes as a message at most, beside a few fields of which HTTP bounds the length."""
    emotion = request.emotion.audio if request.emotion else None
    words = (request.text, *request.params, *(v for v in request.params.values() if isinstance(v, str)))
    recorded = len(request.reference_audio or b"") + len(emotion or b"")
    return recorded + MAX_CHARACTER_BYTES * sum(map(len, words)) + NUMBER_BYTES * len(request.params)


@contextmanager
def _speech_errors() -> Iterator[None]:
    """Raise what went wrong in the router as the SpeechError it is, and a router that is gone as Unavailable."""
    try:
        yield
    except RayTaskError as error:
        raise cause_of(error) from None
    except RayActorError as error:
        raise RouterLost(ROUTER_GONE, retry_after_s=2) from error
    except RayServeException as error:
        raise Unavailable(ROUTER_GONE, retry_after_s=2) from error


def cause_of(error: RayTaskError) -> Exception:
    """The SpeechError inside a remote failure, or the failure itself."""
    cause: object = error
    while isinstance(cause, RayTaskError):
        cause = cause.cause
    return cause if isinstance(cause, SpeechError) else error


@dataclass(frozen=True, slots=True)
class Speech:
    """A finished synthesis: mono samples (n,) within ±1."""

    samples: Samples
    sample_rate_hz: int
    model: str
    voice: str
    warnings: tuple[str, ...] = ()  # what a listener may miss

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate_hz


class RequestFields(TypedDict, total=False):
    """How to speak: the fields of SpeechRequest, which says what they mean."""

    model: str
    voice: str | None
    language: str | None
    speed: float
    seed: int | None
    reference_audio: bytes | None
    reference_text: str | None
    emotion: Emotion | None
    instructions: str | None
    quality: str | None
    params: Mapping[str, object]
    pause_ms: float | None
    text_cleaning: bool
    sample_rate_hz: int | None
    dialogue: bool
    tags: tuple[str, ...]
    latency_budget_ms: float | None
    filler: bool | None
    fallback: bool | None
    stream: bool
    deadline: Deadline


class Voicegraph:
    """Speech for Python code inside the cluster, without HTTP and without encoding."""

    def __init__(self, router: RouterClient) -> None:
        self._router = router

    def request(self, text: str, **fields: Unpack[RequestFields]) -> SpeechRequest:
        """A request with a fresh id. Raises InvalidRequest for values that HTTP would refuse, TypeError for names."""
        if unknown := sorted(fields.keys() - RequestFields.__annotations__.keys()):
            raise TypeError(
                f"a request has no {', '.join(unknown)}; it has {', '.join(RequestFields.__annotations__)}. "
                f"Parameters of a model go in params={{{unknown[0]!r}: …}}; GET /v1/audio/models lists them"
            )
        request = SpeechRequest(request_id=uuid.uuid4().hex, text=text, **fields)
        check_request(request)
        return request

    async def events(self, text: str, **fields: Unpack[RequestFields]) -> AsyncGenerator[StreamEvent, None]:
        """StreamStart (model, voice, sample rate), AudioChunks as they are made, StreamEnd."""
        stream = self._router.stream(self.request(text, **fields))
        try:
            async for event in stream:
                yield event
        finally:
            await stream.aclose()

    async def stream(self, text: str, **fields: Unpack[RequestFields]) -> AsyncGenerator[Samples, None]:
        """Samples (n,) as they are made, at the model's rate (see `events` for the rate)."""
        events = self.events(text, **fields)
        try:
            async for event in events:
                if isinstance(event, AudioChunk):
                    yield event.samples
        finally:
            await events.aclose()

    async def speak(self, text: str, **fields: Unpack[RequestFields]) -> Speech:
        """The whole text as one array. Raises SpeechError as the HTTP interface would answer."""
        start: StreamStart | None = None
        pieces: list[Samples] = []
        end: StreamEnd | None = None
        async for event in self.events(text, **fields):
            if isinstance(event, StreamStart):
                start = event
            elif isinstance(event, AudioChunk):
                pieces.append(event.samples)
            elif isinstance(event, StreamEnd):
                end = event
        if start is None or end is None:
            raise Unavailable("the stream ended before the text was spoken", retry_after_s=2)
        samples = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)
        warnings = tuple(dict.fromkeys((*start.warnings, *end.warnings)))
        return Speech(samples, start.sample_rate_hz, start.model, start.voice, warnings)

    async def voices(self) -> tuple[VoiceCard, ...]:
        """Those of the models and those that were uploaded."""
        return (await self._router.catalogue()).voices

    async def add_voice(
        self,
        name: str,
        audio: bytes,
        *,
        description: str = "",
        language: str = "",
        consent: str = "",
        reference_text: str = "",
        aliases: Sequence[str] = (),
    ) -> RegisteredVoice:
        """Register a recording (1 to 30 s, at most 10 MB, any usual format) as a voice of every model that clones.

        Speak with it by its `id` or any of its names. Raises InvalidRequest for a recording that cannot serve and
        Conflict for a name that is taken. `warnings` of the answer say what may sound wrong.
        """
        return await self._router.register_voice(
            NewVoice(
                audio=audio,
                name=name,
                description=description,
                language=language,
                consent=consent,
                reference_text=reference_text,
                aliases=tuple(aliases),
            )
        )

    async def remove_voice(self, voice_id: str) -> None:
        """Delete an uploaded voice, its recording and everything made of it. Raises NotFound."""
        await self._router.delete_voice(voice_id)


def connect(
    application: str | None = None, *, address: str | None = None, port: int | None = None
) -> Voicegraph:
    """The running graph, to be used with `await`.

    Inside its Ray cluster that is all. A script of its own joins the cluster first: at `address` (host:port of Ray,
    or $RAY_ADDRESS), else that of the server which `voicegraph serve` runs on this machine, at the HTTP `port` where
    there are several. Raises Unavailable if no graph is there.
    """
    joined = join_cluster(address, port)
    name = application or joined or APPLICATION
    from ray import serve  # noqa: PLC0415  (keeps `import serve_app` light)

    try:
        return Voicegraph(RouterClient(serve.get_deployment_handle(ROUTER, app_name=name)))
    except RayServeException as error:
        raise Unavailable(
            f"no graph named {name!r} runs in this Ray cluster; start one with `{start()}`, or name another "
            "cluster: connect(address=…)"
        ) from error


def connect_blocking(
    application: str | None = None, *, address: str | None = None, port: int | None = None
) -> BlockingVoicegraph:
    """`connect()` for scripts without `async`: every call waits for its answer."""
    return BlockingVoicegraph(connect(application, address=address, port=port))
