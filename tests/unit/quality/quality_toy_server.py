"""A speech server that answers every text with a tone of a second per 14 letters, or as it was told."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiohttp import web

RATE_HZ = 24_000


def tone(seconds: float, level: float = 0.1) -> bytes:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (level * 32767 * np.sin(2 * np.pi * 220 * t)).astype("<i2").tobytes()


class ToyServer:
    """`answers` by text: samples, or a status. `ignores` are names for X-Ignored-Fields."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | int] = {}
        self.ignores = ""
        self.bodies: list[dict[str, Any]] = []
        self.url = ""

    async def speech(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        answer = self.answers.get(body["input"], tone(len(body["input"]) / 14))
        if isinstance(answer, int):
            return web.json_response({"error": {"message": "it is too much"}}, status=answer)
        headers = {"Content-Type": "audio/pcm", "X-Model": "toy", "X-Sample-Rate": str(RATE_HZ)}
        response = web.StreamResponse(headers=headers | {"X-Ignored-Fields": self.ignores})
        await response.prepare(request)
        half = len(answer) // 4 * 2
        for piece in (answer[:half], answer[half:]):
            await response.write(piece)
        return response
