"""The graph from inside: what the ingress uses, and `connect()` for Python code in the same Ray cluster."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.exceptions import RayActorError, RayTaskError

from deployments.core import AudioChunk, Samples, SpeechRequest, StreamEnd, StreamEvent, StreamStart, Voice
from deployments.errors import SpeechError, Unavailable

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

    from serve_app.router import Catalogue

APPLICATION = "voicegraph"
ROUTER = "Router"


class RouterClient:
    """Typed access to the Router deployment. Errors of the graph arrive as the SpeechError that was raised there."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle.options(_by_reference=False)
        self._streams = handle.options(stream=True, _by_reference=False)

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        """StreamStart, AudioChunks, StreamEnd. Closing the generator stops the work in every stage."""
        response: DeploymentResponseGenerator[StreamEvent] = self._streams.stream.remote(request)  # type: ignore[assignment]
        try:
            async for event in response:
                yield event
        except RayTaskError as error:
            raise cause_of(error) from None
        except RayActorError as error:
            raise Unavailable(
                "the router stopped while working on this request; try again", retry_after_s=2
            ) from error
        finally:
            # Over gRPC neither `break` nor a lost client stops the callee by itself.
            response.cancel()

    async def catalogue(self) -> Catalogue:
        catalogue: Catalogue = await self._handle.catalogue.remote()
        return catalogue

    async def status(self) -> dict[str, bool]:
        status: dict[str, bool] = await self._handle.status.remote()
        return status


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
        return Speech(np.concatenate(pieces), start.sample_rate_hz, start.model, start.voice)

    async def voices(self) -> tuple[Voice, ...]:
        return (await self._router.catalogue()).voices


def connect(application: str = APPLICATION) -> Voicegraph:
    """The running graph. Call inside the Ray cluster it runs in (after `ray.init(address="auto")` in a script)."""
    from ray import serve  # noqa: PLC0415  (keeps `import serve_app` light)

    return Voicegraph(RouterClient(serve.get_deployment_handle(ROUTER, app_name=application)))
