"""What HTTP asks of every route alike: HEAD beside GET, answers for HTTP/1.0, and paths as people write them."""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.http.errors import error_response
from serve_app.http.stream_cut import StreamCut


def route_path(scope: Scope) -> str:
    """The path below the prefix at which the application is mounted, as routes name it."""
    root, path = scope.get("root_path", ""), scope["path"]
    return (path.removeprefix(root) if root else path) or "/"


class CleanPaths:
    """ASGI middleware: `//v1/audio/speech` and `/v1/audio/speech/` are `/v1/audio/speech`.

    A redirect would not do: clients follow it without the body of a POST, or not at all.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            root, path = scope.get("root_path", ""), re.sub("/{2,}", "/", scope["path"])
            if path.rstrip("/") != root:  # the page itself is at "/", below the prefix of the application
                path = path.rstrip("/")
            scope = {**scope, "path": path}
        await self._app(scope, receive, send)


class HeadForGet:
    """ASGI middleware: HEAD is answered like GET, without the body. FastAPI's routes know it not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # Ranges are defined for GET alone (RFC 9110, 14.2).
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await self._app({**scope, "method": "GET", "headers": headers}, receive, bodiless)


class WholeForOldHttp:
    """ASGI middleware: a client of HTTP/1.0 gets its answer whole, with its length.

    It cannot read chunks (RFC 9112, 6.1), in which uvicorn sends everything of unknown length. A stream that breaks
    off has not begun to be sent, so its failure is answered with a status.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["http_version"] not in ("1.0", "0.9"):
            await self._app(scope, receive, send)
            return
        start: Message = {}
        parts: list[bytes] = []

        async def gathered(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if message["type"] != "http.response.body":
                await send(message)
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                await send(_with_length(start, sum(map(len, parts)), scope["method"]))
                await send({"type": "http.response.body", "body": b"".join(parts)})

        try:
            await self._app(scope, receive, gathered)
        except StreamCut as cut:
            await error_response(cut.failure)(scope, receive, send)


def _with_length(start: Message, length: int, method: str) -> Message:
    headers = list(start["headers"])
    if "content-length" not in Headers(raw=headers) and method != "HEAD":
        MutableHeaders(raw=headers)["content-length"] = str(length)
    return {**start, "headers": headers}
