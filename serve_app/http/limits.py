"""The bound on request bodies, for every route: what is larger is refused before it has been read."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.core.errors import TooLarge
from serve_app.http.errors import error_response

MOST_DIGITS = 18  # int() itself refuses thousands of digits


class BodyLimit:
    """ASGI middleware: answers 413 as soon as it is known that a body has more than `max_bytes`."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._declares_too_much(scope):
            await self._refuse(scope, receive, send)
            return
        size, exceeded, answered = 0, False, False

        async def counted() -> Message:
            nonlocal size, exceeded
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                exceeded = True
                # For the application the client has left; whatever it answers to that is replaced below.
                return {"type": "http.disconnect"}
            return message

        async def replaced(message: Message) -> None:
            nonlocal answered
            if not exceeded:
                await send(message)
            elif not answered:
                answered = True
                await self._refuse(scope, receive, send)

        await self._app(scope, counted, replaced)

    def _declares_too_much(self, scope: Scope) -> bool:
        declared = dict(scope["headers"]).get(b"content-length", b"").decode("latin-1")
        if not declared.isdecimal():
            return False
        return len(declared) > MOST_DIGITS or int(declared) > self._max_bytes

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await error_response(too_large(self._max_bytes))(scope, receive, send)


def too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the request body is larger than {max_bytes} bytes", code="body_too_large")
