"""A speech server whose every pause and byte is written down beforehand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

RATE_HZ = 24_000


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE_HZ))


@dataclass
class Script:
    """What one text is answered with: pairs of a pause in seconds and a piece of the body."""

    pieces: list[tuple[float, bytes]] = field(default_factory=lambda: [(0.0, silence(0.1))])
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "audio/pcm"})
    breaks: bool = False


class ToyServer:
    """Answers by the script of the input text, or with 0.1 s of silence; remembers what it was sent."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.log: list[str] = []
        self.in_flight = 0
        self.in_flight_max = 0
        self.url = ""

    async def speech(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.authorizations.append(request.headers.get("Authorization"))
        self.log.append("http")
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            return await self._answer(request, self.scripts.get(body["input"], Script()))
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request, script: Script) -> web.StreamResponse:
        if script.status != 200:
            error = {"error": {"message": "the queue is full", "type": "rate_limit_exceeded"}}
            return web.json_response(error, status=script.status, headers=script.headers)
        response = web.StreamResponse(headers=script.headers)
        await response.prepare(request)
        for pause_s, piece in script.pieces:
            await asyncio.sleep(pause_s)
            await response.write(piece)
        if script.breaks:
            # Let the pieces leave before the connection is cut without the closing chunk.
            await asyncio.sleep(0.02)
            assert request.transport is not None
            request.transport.close()
        return response
