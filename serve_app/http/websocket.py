"""WS /v1/audio/speech/stream: text in as it is written, speech out as it is made (docs/websocket.md)."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from serve_app.config import HttpSettings
from serve_app.http.live.session import Session, SessionLimits
from serve_app.http.service import SpeechService


def websocket_routes(service: SpeechService, settings: HttpSettings) -> APIRouter:
    routes = APIRouter()
    limits = SessionLimits(settings.max_body_bytes, settings.max_input_chars)

    @routes.websocket("/v1/audio/speech/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await Session(socket, service, limits).run()

    return routes
