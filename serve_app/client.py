"""The graph from inside: what the ingress uses, and `connect()` for Python code in the same Ray cluster."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import RayServeException

from deployments.core.errors import SpeechError, Unavailable
from deployments.core.speech import (
    AudioChunk,
    Samples,
    SpeechRequest,
    StreamEnd,
    StreamEvent,
    StreamFailed,
    StreamStart,
    Voice,
)
from deployments.voices.voice import Voice as RegisteredVoice

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

    from deployments.voices.library import Outcome
    from serve_app.router import Catalogue

APPLICATION = "voicegraph"
ROUTER = "Router"
MAX_GRPC_BYTES = 3_000_000  # gRPC between replicas refuses messages above 4 MB


class RouterClient:
    """Typed access to the Router deployment. Errors of the graph arrive as the SpeechError that was raised there."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle.options(_by_reference=False)
        self._streams = handle.options(stream=True, _by_reference=False)
        self._large = handle.options(_by_reference=True)
        self._large_streams = handle.options(stream=True, _by_reference=True)

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        """StreamStart, AudioChunks, StreamEnd. Closing the generator stops the work in every stage."""
        streams = self._large_streams if _recorded_bytes(request) > MAX_GRPC_BYTES else self._streams
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

    async def catalogue(self) -> Catalogue:
        with _speech_errors():
            catalogue: Catalogue = await self._handle.catalogue.remote()
        return catalogue

    async def status(self) -> dict[str, bool]:
        with _speech_errors():
            status: dict[str, bool] = await self._handle.status.remote()
        return status

    async def register_voice(self, audio: bytes, **fields: Any) -> RegisteredVoice:
        """Keep a recording as a voice; `fields` are those of VoiceDesk.register."""
        voice: RegisteredVoice = await self._at_desk("register", audio, **fields)
        return voice

    async def registered_voice(self, name: str) -> RegisteredVoice:
        """The uploaded voice of that id, name or alias."""
        voice: RegisteredVoice = await self._at_desk("get", name)
        return voice

    async def update_voice(self, name: str, **changes: Any) -> RegisteredVoice:
        """Change what is not None; `changes` are those of VoiceDesk.update."""
        voice: RegisteredVoice = await self._at_desk("update", name, **changes)
        return voice

    async def delete_voice(self, name: str) -> str:
        """Delete an uploaded voice for good; gives its id."""
        voice_id: str = await self._at_desk("delete", name)
        return voice_id

    async def voice_sample(self, name: str) -> tuple[str, bytes]:
        """Media type and bytes of the recording."""
        sample: tuple[str, bytes] = await self._at_desk("sample", name)
        return sample

    async def preload_voice(self, name: str) -> dict[str, Outcome]:
        """Get a voice ready in every model that clones: "hit-ram", "hit-disk" or "miss" by model."""
        outcomes: dict[str, Outcome] = await self._at_desk("preload", name)
        return outcomes

    async def _at_desk(self, action: str, *arguments: Any, **fields: Any) -> Any:
        with _speech_errors():
            outcome = await self._large.at_desk.remote(action, *arguments, **fields)
        if isinstance(outcome, SpeechError):
            raise outcome
        return outcome


def _recorded_bytes(request: SpeechRequest) -> int:
    emotion = request.emotion.audio if request.emotion else None
    return len(request.reference_audio or b"") + len(emotion or b"")


@contextmanager
def _speech_errors() -> Iterator[None]:
    """Raise what went wrong in the router as the SpeechError it is, and a router that is gone as Unavailable."""
    try:
        yield
    except RayTaskError as error:
        raise cause_of(error) from None
    except (RayActorError, RayServeException) as error:
        raise Unavailable("the router cannot work on this request now; try again", retry_after_s=2) from error


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

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate_hz


class Voicegraph:
    """Speech for Python code inside the cluster, without HTTP and without encoding."""

    def __init__(self, router: RouterClient) -> None:
        self._router = router

    def request(self, text: str, **fields: Any) -> SpeechRequest:
        """A request with a fresh id; `fields` are those of SpeechRequest (voice, model, speed, seed, …)."""
        return replace(SpeechRequest(request_id=uuid.uuid4().hex, text=text), **fields)

    async def events(self, text: str, **fields: Any) -> AsyncGenerator[StreamEvent, None]:
        """StreamStart (model, voice, sample rate), AudioChunks as they are made, StreamEnd."""
        stream = self._router.stream(self.request(text, **fields))
        try:
            async for event in stream:
                yield event
        finally:
            await stream.aclose()

    async def stream(self, text: str, **fields: Any) -> AsyncGenerator[Samples, None]:
        """Samples (n,) as they are made, at the model's rate (see `events` for the rate)."""
        events = self.events(text, **fields)
        try:
            async for event in events:
                if isinstance(event, AudioChunk):
                    yield event.samples
        finally:
            await events.aclose()

    async def speak(self, text: str, **fields: Any) -> Speech:
        """The whole text as one array. Raises SpeechError as the HTTP interface would answer."""
        start: StreamStart | None = None
        pieces: list[Samples] = []
        ended = False
        async for event in self.events(text, **fields):
            if isinstance(event, StreamStart):
                start = event
            elif isinstance(event, AudioChunk):
                pieces.append(event.samples)
            elif isinstance(event, StreamEnd):
                ended = True
        if start is None or not ended:
            raise Unavailable("the stream ended before the text was spoken", retry_after_s=2)
        samples = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)
        return Speech(samples, start.sample_rate_hz, start.model, start.voice)

    async def voices(self) -> tuple[Voice, ...]:
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
            audio,
            name=name,
            description=description,
            language=language,
            consent=consent,
            reference_text=reference_text,
            aliases=tuple(aliases),
        )

    async def remove_voice(self, voice_id: str) -> None:
        """Delete an uploaded voice, its recording and everything made of it. Raises NotFound."""
        await self._router.delete_voice(voice_id)


def connect(application: str = APPLICATION) -> Voicegraph:
    """The running graph. Call inside the Ray cluster it runs in (after `ray.init(address="auto")` in a script)."""
    from ray import serve  # noqa: PLC0415  (keeps `import serve_app` light)

    return Voicegraph(RouterClient(serve.get_deployment_handle(ROUTER, app_name=application)))
