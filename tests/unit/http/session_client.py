"""A client that talks to a session over bare ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

PATH = "/v1/audio/speech/stream"


class Talk:
    """The client's end of one session."""

    def __init__(
        self, to_server: asyncio.Queue[Any], from_server: asyncio.Queue[Any], protocol: str | None = None
    ) -> None:
        self.protocol = protocol
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
async def talking(
    app: FastAPI, *, headers: dict[str, str] | None = None, protocols: tuple[str, ...] = ()
) -> AsyncGenerator[Talk, None]:
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
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "subprotocols": list(protocols),
        "client": ("test", 1),
        "server": ("test", 80),
    }
    to_server.put_nowait({"type": "websocket.connect"})
    server = asyncio.create_task(app(scope, to_server.get, from_server.put))  # type: ignore[arg-type]
    accepted = await asyncio.wait_for(from_server.get(), 5)
    assert accepted["type"] == "websocket.accept"
    talk = Talk(to_server, from_server, accepted.get("subprotocol"))
    try:
        yield talk
    finally:
        talk.leave()
        await asyncio.wait_for(server, 5)
