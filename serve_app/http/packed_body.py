"""Request bodies that were compressed on the way (Content-Encoding): unpacked, within the bound on bodies."""

from __future__ import annotations

import asyncio
import zlib

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.core.errors import CLIENT_CLOSED_REQUEST, InvalidRequest, SpeechError, UnsupportedMedia
from serve_app.http.errors import error_response
from serve_app.http.limits import too_large

GZIP, ZLIB, RAW = 31, 15, -15  # `wbits` of zlib
ENCODINGS = {"gzip": (GZIP,), "x-gzip": (GZIP,), "deflate": (ZLIB, RAW)}  # deflate without a header is common


class PackedBody:
    """ASGI middleware within BodyLimit, which bounds what arrives; here the same bound holds for what it becomes."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = Headers(scope=scope).get("content-encoding", "")
        encodings = [
            name for part in named.split(",") if (name := part.strip().lower()) not in ("", "identity")
        ]
        if not encodings:
            await self._app(scope, receive, send)
            return
        try:
            packed = await Request(scope, receive).body()
            body = await asyncio.to_thread(self._unpacked, packed, encodings)
        except ClientDisconnect:
            await Response(status_code=CLIENT_CLOSED_REQUEST)(scope, receive, send)
            return
        except SpeechError as error:
            answer = error_response(error)
            if isinstance(error, UnsupportedMedia):
                answer.headers["Accept-Encoding"] = "gzip, deflate, identity"  # RFC 9110, 12.5.3
            await answer(scope, receive, send)
            return
        kept = [(k, v) for k, v in scope["headers"] if k not in (b"content-encoding", b"content-length")]
        headers = [*kept, (b"content-length", str(len(body)).encode())]
        await self._app({**scope, "headers": headers}, _replayed(body, receive), send)

    def _unpacked(self, body: bytes, encodings: list[str]) -> bytes:
        """Undone in the reverse order, the last first. Raises SpeechError."""
        for encoding in reversed(encodings):
            if encoding not in ENCODINGS:
                raise UnsupportedMedia(
                    f"Content-Encoding: {encoding[:40]!r} is not read here; send the body in gzip, deflate or as it is"
                )
            body = self._inflated(body, encoding)
        return body

    def _inflated(self, body: bytes, encoding: str) -> bytes:
        for bits in ENCODINGS[encoding]:
            try:
                return self._members(body, bits)
            except (zlib.error, EOFError):  # noqa: PERF203
                continue
        raise InvalidRequest(
            f"the body is not the {encoding} that its Content-Encoding says", code="invalid_encoding"
        )

    def _members(self, body: bytes, bits: int) -> bytes:
        """One stream of zlib, or several of gzip in a row. Never holds more than the bound."""
        parts: list[bytes] = []
        left = self._max_bytes + 1
        while True:
            stream = zlib.decompressobj(bits)
            parts.append(stream.decompress(body, left))
            left -= len(parts[-1])
            if left <= 0:
                raise too_large(self._max_bytes)
            if not stream.eof:
                raise EOFError
            body = stream.unused_data
            if not body or bits != GZIP:
                return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive` that begins with a whole body, and goes on with what the server says (that the client has left)."""
    given = False

    async def next_message() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message
