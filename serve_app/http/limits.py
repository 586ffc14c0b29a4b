"""The bounds on request bodies, for every route: what is larger is refused before it has been read, what is slower is
not waited for."""

from __future__ import annotations

import time

from ray.exceptions import RayError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.core.deadline import within
from deployments.core.errors import SpeechError, TooLarge, TooSlow
from serve_app.http.errors import error_response

MOST_DIGITS = 18  # int() itself refuses thousands of digits
LEAST_BYTES_PER_S = 16_000  # of a body that takes longer than the time that every body has


# What the application hears of a client that has left, and of a body that is refused: whatever it answers to that is
# replaced.
GONE: Message = {"type": "http.disconnect"}


class BodyLimit:
    """ASGI middleware: 413 as soon as it is known that a body has more than `max_bytes`, 408 where it takes more than
    `timeout_s` and does not come at a modem's pace either."""

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._declares_too_much(scope):
            await error_response(too_large(self._max_bytes))(scope, receive, send)
            return
        began_s = time.monotonic()
        size, complete, answered = 0, False, False
        refusal: SpeechError | None = None

        async def bounded() -> Message:
            nonlocal size, complete, refusal
            if refusal is not None:
                return GONE
            if complete:  # from here on only the client's leaving is heard of
                return await _received(receive)
            left_s = began_s + self._timeout_s + size / LEAST_BYTES_PER_S - time.monotonic()
            try:
                message = await within(max(0.0, left_s), _received(receive))
            except TimeoutError:
                refusal = TooSlow(
                    f"the request body had not arrived after {time.monotonic() - began_s:.0f} s, of which there were "
                    f"{size} bytes"
                )
            else:
                size += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if size > self._max_bytes:
                    refusal = too_large(self._max_bytes)
            return message if refusal is None else GONE

        async def replaced(message: Message) -> None:
            nonlocal answered
            if refusal is None:
                await send(message)
            elif not answered:
                answered = True
                answer = error_response(refusal)
                # The rest of the body would come as the next request of this connection.
                answer.headers["Connection"] = "close"
                await answer(scope, receive, send)

        await self._app(scope, bounded, replaced)

    def _declares_too_much(self, scope: Scope) -> bool:
        declared = dict(scope["headers"]).get(b"content-length", b"").decode("latin-1")
        if not declared.isdecimal():
            return False
        return len(declared) > MOST_DIGITS or int(declared) > self._max_bytes


def too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the request body is larger than {max_bytes} bytes", code="body_too_large")


async def _received(receive: Receive) -> Message:
    """Where the client has left, Serve's own proxy sometimes ends the call by which messages come, and says no more."""
    try:
        return await receive()
    except RayError:
        return GONE
