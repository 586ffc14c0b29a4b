"""A speech service that plays a script, and a client of the HTTP interface that sees every ASGI message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import httpx
import numpy as np
from fastapi import FastAPI
from pydantic import Field

from deployments.core.catalogue import Catalogue, ModelCard, VoiceCard
from deployments.core.errors import InvalidRequest, NotFound
from deployments.core.settings import Params
from deployments.core.speech import AudioChunk, Samples, SpeechRequest, StreamEnd, StreamEvent, StreamStart
from deployments.text.check import check_text
from serve_app.config import OPENAI_MODEL_ALIASES, AuthSettings, Limits
from serve_app.http.application import create_api
from serve_app.observe.now import ModelNow, StageNow
from serve_app.routing.decision import Decision, Load
from serve_app.routing.names import resolve
from serve_app.routing.needs import Needs
from serve_app.routing.policy import Policy, decide

MODEL_RATE_HZ = 16_000
MAX_BODY_BYTES = 20_000
LIMITS = Limits(max_body_bytes=MAX_BODY_BYTES)


class ToyParams(Params):
    """What a request may choose about the model `toy`."""

    warmth: float = Field(default=0.5, ge=0, le=1, description="0: cold, 1: warm")
    steps: int = Field(default=4, ge=1, le=8, description="time grows with them")
    breath: bool = Field(default=False, description="heard between sentences")
    style: Literal["plain", "news"] = "plain"
    pitch_hz: float | None = Field(default=None, ge=50, le=400, description="null: the voice's own")


CARD = ModelCard(
    "toy",
    "toy",
    MODEL_RATE_HZ,
    ("en", "zh"),
    "anna",
    description="a toy",
    presets=("good", "fast"),
    parameters=ToyParams().schema_here(),
)
OTHER = ModelCard("cloner", "cloner", 24_000, ("en",), "ben", cloning=True)
VOICES = (
    VoiceCard("anna", "Anna", "toy", "en", "female", aliases=("alloy",)),
    VoiceCard("ben", "Ben", "cloner", "en", "male"),
)


def tone(seconds: float, hz: float = 440.0, rate_hz: int = MODEL_RATE_HZ) -> Samples:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.4 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def speech(seconds: float = 1.0, pieces: int = 5, **start: Any) -> list[StreamEvent]:
    """A complete stream of a tone cut into `pieces`."""
    begin = StreamStart(
        **{"model": "toy", "voice": "anna", "sample_rate_hz": MODEL_RATE_HZ, "reason": "test"} | start
    )
    parts = np.array_split(tone(seconds, rate_hz=begin.sample_rate_hz), pieces)
    return [begin, *(AudioChunk(part, index) for index, part in enumerate(parts)), StreamEnd(seconds)]


def judge(request: SpeechRequest) -> None:
    """What the model `toy` refuses. Raises InvalidRequest."""
    if request.quality not in (None, *CARD.presets):
        raise InvalidRequest(
            f"quality {request.quality!r} is not one of {', '.join(CARD.presets)}", param="quality"
        )
    ToyParams().changed(request.params)


def catalogue(*, voices: bool) -> Catalogue:
    return Catalogue((CARD, OTHER), VOICES if voices else (), OPENAI_MODEL_ALIASES, "toy")


@dataclass
class FakeService:
    """Checks what router and model check, then plays `script`; an exception in it is raised, a number is a pause."""

    script: Iterable[StreamEvent | Exception | float] = field(default_factory=speech)
    requests: list[SpeechRequest] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    voices_listed: int = 0
    ready: dict[str, bool] = field(default_factory=lambda: {"toy": True})

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        self.requests.append(request)
        self.opened += 1
        try:
            check_text(request.text, max_chars=4096, cleaning=request.text_cleaning)
            resolve(request.model, [CARD, OTHER], OPENAI_MODEL_ALIASES)
            names = {name for voice in VOICES for name in (voice.id, *voice.aliases)}
            if request.voice is not None and request.voice not in names:
                raise NotFound(
                    f"voice {request.voice!r} does not exist", param="voice", code="voice_not_found"
                )
            judge(request)
            ignored = ToyParams.unknown(request.params)
            for item in self.script:
                if isinstance(item, Exception):
                    raise copy(item)  # the original would be tied to its traceback, and that to this service
                if isinstance(item, StreamStart):
                    yield replace(item, ignored=(*item.ignored, *ignored))
                elif isinstance(item, int | float):
                    await asyncio.sleep(item)
                else:
                    yield item
        finally:
            self.closed += 1

    async def route(self, request: SpeechRequest) -> Decision:
        self.requests.append(request)
        policy = Policy((CARD, OTHER), OPENAI_MODEL_ALIASES, "toy")
        return decide(
            request, Needs(cloning=request.reference_audio is not None), policy, {"toy": Load(0.25, 4.0)}
        )

    async def catalogue(self, *, voices: bool = True) -> Catalogue:
        self.voices_listed += voices
        return catalogue(voices=voices)

    async def status(self) -> dict[str, bool]:
        return self.ready

    async def now(self) -> tuple[ModelNow, ...]:
        return (
            ModelNow("toy", "up", 3, 0.25, 0.5, {"gpt": StageNow(2, 16, 5, 1)}),
            ModelNow("other", "down", 0, None, None, {}),
        )


def make_app(service: Any, limits: Limits = LIMITS, auth: AuthSettings | None = None) -> FastAPI:
    return create_api(service, limits, auth=auth)


def make_client(service: Any, auth: AuthSettings | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(make_app(service, auth=auth))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


def body_schema(document: dict[str, Any], path: str, method: str = "post") -> dict[str, Any]:
    """The schema of a body in an OpenAPI document, with everything that it refers to put in place."""
    (content,) = document["paths"][path][method]["requestBody"]["content"].values()

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return resolved(document["components"]["schemas"][part["$ref"].rsplit("/", 1)[-1]])
        return {name: resolved(value) for name, value in part.items()}

    schema: dict[str, Any] = resolved(content["schema"])
    return schema


@dataclass
class Wire:
    """One request over bare ASGI. The client leaves after `leave_after` body messages (None: stays)."""

    app: FastAPI
    body: dict[str, Any]
    leave_after: int | None = None
    spec_version: str = "2.3"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": self.spec_version},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/audio/speech",
            "raw_path": b"/v1/audio/speech",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"content-type", b"application/json"), *self.headers],
            "client": ("test", 1),
            "server": ("test", 80),
        }

    @property
    def data(self) -> list[bytes]:
        bodies = [m.get("body", b"") for m in self.messages if m["type"] == "http.response.body"]
        return [body for body in bodies if body]

    @property
    def ended_cleanly(self) -> bool:
        """Whether the server sent the last chunk, which is what tells a client that nothing is missing."""
        return any(m["type"] == "http.response.body" and not m.get("more_body") for m in self.messages)

    async def run(self) -> None:
        gone = asyncio.Event()
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": json.dumps(self.body).encode(), "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            await asyncio.sleep(0)
            if gone.is_set() and self.spec_version >= "2.4":
                raise OSError("the client has left")
            self.messages.append(message)
            if self.leave_after is not None and len(self.data) >= self.leave_after:
                gone.set()

        await self.app(self.scope, receive, send)  # type: ignore[arg-type]
