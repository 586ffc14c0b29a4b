"""The outermost application of an ingress: it counts what is under way, and lets nothing new in while it drains."""

from __future__ import annotations

import asyncio
import json

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.core.errors import Unavailable
from deployments.core.ray_internals import RUN_HEADER
from serve_app.http.errors import error_response

ALIVE = "/livez"  # the process is there, whatever it takes
RETRY_AFTER_S = 5.0
MISDIRECTED = 421  # RFC 9110, 15.5.20
TRY_AGAIN_LATER = 1013  # IANA's registry of WebSocket close codes
CLOSE = {"type": "websocket.receive", "text": json.dumps({"type": "session.close"})}


class Gate:
    """ASGI application in front of `api`, which may be replaced: what is under way stays with the one it began with."""

    def __init__(self, api: ASGIApp, run: str = "") -> None:
        """`run`: what this run of a server calls itself."""
        self.api = api
        self._run = run
        self.open = 0
        self._draining = asyncio.Event()

    @property
    def draining(self) -> bool:
        return self._draining.is_set()

    def drain(self) -> None:
        """Requests that come from now on are told to come back; sessions end with what they have begun to speak."""
        self._draining.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket") or scope["path"].endswith(ALIVE):
            if kind == "http" and not self._of_this_run(scope):
                await PlainTextResponse("another server's", MISDIRECTED)(scope, receive, send)
                return
            await self.api(scope, receive, send)
            return
        if self.draining:
            await _refuse(scope, receive, send)
            return
        self.open += 1
        try:
            await self.api(scope, self._until_draining(receive) if kind == "websocket" else receive, send)
        finally:
            self.open -= 1

    def _of_this_run(self, scope: Scope) -> bool:
        """False where a front proxy asks that was started for another server, which had this address before."""
        asked = dict(scope["headers"]).get(RUN_HEADER.encode())
        return asked is None or asked.decode("latin-1") == self._run

    def _until_draining(self, receive: Receive) -> Receive:
        """What the client sends; and, once this ingress drains, what a client says that wants no more."""
        told = False

        async def next_message() -> Message:
            nonlocal told
            if told:
                return await receive()
            message = asyncio.ensure_future(receive())
            draining = asyncio.ensure_future(self._draining.wait())
            try:
                await asyncio.wait({message, draining}, return_when=asyncio.FIRST_COMPLETED)
                if message.done():
                    return message.result()
                told = True
                return CLOSE
            finally:
                message.cancel()
                draining.cancel()

        return next_message


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
        return
    error = Unavailable(
        "the server is stopping; try again", code="server_stopping", retry_after_s=RETRY_AFTER_S
    )
    answer = error_response(error)
    answer.headers["Connection"] = "close"
    await answer(scope, receive, send)
