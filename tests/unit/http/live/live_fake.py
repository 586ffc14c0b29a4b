"""A service that speaks words as tones, and a client that talks to the session over bare ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from api_fake import CARD, MODEL_RATE_HZ, OTHER, VOICES, tone
from fastapi import FastAPI, WebSocket

from deployments.core.errors import InvalidRequest, NotFound, Overloaded, SpeechError
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd, StreamEvent, StreamStart
from deployments.text.check import check_text
from serve_app.config import OPENAI_MODEL_ALIASES, HttpSettings
from serve_app.http.application import create_api
from serve_app.http.live.session import Session, SessionLimits
from serve_app.router import Catalogue

MAX_CHARS = 200
MAX_BYTES = 5000
WORD_S = 0.1
PATH = "/v1/audio/speech/stream"


@dataclass
class Speaker:
    """Every word is a tone. `slow` makes each later word take 20 ms, `broken` fails, `crash` crashes, `full` is
    refused `refusals` times, `Chinese` cannot be spoken by the voice `anna`."""

    refusals: int = 0
    requests: list[SpeechRequest] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    words: int = 0

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        self.requests.append(request)
        words = check_text(request.text, max_chars=MAX_CHARS).split()
        if "full" in words and self.refusals:
            self.refusals -= 1
            raise Overloaded("full", retry_after_s=0.02)
        if "Chinese" in words and request.voice == "anna":
            raise InvalidRequest("anna does not speak Chinese", param="voice")
        if "broken" in words:
            raise SpeechError("this is broken")
        if "crash" in words:
            raise RuntimeError("a bug")
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            voice = "mei" if "Chinese" in words else "anna"
            yield StreamStart(
                "toy", voice, MODEL_RATE_HZ, "test", ignored=("quality",) if request.quality else ()
            )
            for word in words:
                await asyncio.sleep(0.02 if "slow" in words else 0)
                self.words += 1
                yield AudioChunk(tone(WORD_S), len(word))
            yield StreamEnd(len(words) * WORD_S)
        finally:
            self.running -= 1

    async def catalogue(self) -> Catalogue:
        return Catalogue((CARD, OTHER), VOICES, OPENAI_MODEL_ALIASES, "toy")

    async def registered_voice(self, name: str) -> Any:
        if name != "Ada":
            raise NotFound(f"no {name}")


def make_app(service: Any) -> FastAPI:
    return create_api(service, HttpSettings(max_body_bytes=MAX_BYTES, max_input_chars=MAX_CHARS))


def limited_app(service: Any, limits: SessionLimits) -> FastAPI:
    app = FastAPI()

    @app.websocket(PATH)
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await Session(socket, service, limits).run()

    return app


class Talk:
    """The client's end of one session."""

    def __init__(self, to_server: asyncio.Queue[Any], from_server: asyncio.Queue[Any]) -> None:
        self._to_server = to_server
        self._from_server = from_server

    def send(self, kind: str, **fields: Any) -> None:
        self.send_raw(json.dumps({"type": kind, **fields}))

    def send_raw(self, frame: str | bytes) -> None:
        name = "text" if isinstance(frame, str) else "bytes"
        self._to_server.put_nowait({"type": "websocket.receive", name: frame})

    def configure(self, **fields: Any) -> None:
        self.send("session.config", **{"model": "toy", "voice": "anna", "response_format": "pcm", **fields})

    def say(self, *texts: str) -> None:
        for text in texts:
            self.send("input.text", text=text)

    def leave(self) -> None:
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def next(self, timeout_s: float = 5.0) -> Any:
        """The next message as an object, audio as bytes, the code of a close as a number."""
        frame = await asyncio.wait_for(self._from_server.get(), timeout_s)
        if frame["type"] == "websocket.close":
            return frame["code"]
        return frame["bytes"] if frame.get("bytes") is not None else json.loads(frame["text"])

    async def until(self, kind: str) -> tuple[dict[str, Any], bytes]:
        """The next message of this type, and the audio before it; anything else in between is a failure."""
        audio = b""
        while True:
            message = await self.next()
            if isinstance(message, bytes):
                audio += message
                continue
            assert message["type"] == kind, message
            return message, audio

    async def utterance(self) -> tuple[dict[str, Any], bytes, dict[str, Any]]:
        start, before = await self.until("audio.start")
        assert not before
        done, audio = await self.until("audio.done")
        return start, audio, done

    async def silent(self, seconds: float) -> bool:
        try:
            await self.next(seconds)
        except asyncio.TimeoutError:
            return True
        return False


@asynccontextmanager
async def talking(app: FastAPI) -> AsyncGenerator[Talk, None]:
    """A session; on leaving the block the client disconnects, and the server must have ended by itself."""
    to_server: asyncio.Queue[Any] = asyncio.Queue()
    from_server: asyncio.Queue[Any] = asyncio.Queue()
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "subprotocols": [],
        "client": ("test", 1),
        "server": ("test", 80),
    }
    to_server.put_nowait({"type": "websocket.connect"})
    server = asyncio.create_task(app(scope, to_server.get, from_server.put))  # type: ignore[arg-type]
    accepted = await asyncio.wait_for(from_server.get(), 5)
    assert accepted["type"] == "websocket.accept"
    talk = Talk(to_server, from_server)
    try:
        yield talk
    finally:
        talk.leave()
        await asyncio.wait_for(server, 5)
