"""The whole HTTP interface over a speech service; knows nothing of Ray."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from serve_app.config import Limits
from serve_app.http import errors
from serve_app.http.batch import batch_routes
from serve_app.http.catalogue import catalogue_routes
from serve_app.http.limits import BodyLimit
from serve_app.http.service import SpeechService
from serve_app.http.speech import speech_routes
from serve_app.http.system import docs_routes, page_routes, system_routes
from serve_app.http.voices import voice_routes
from serve_app.http.websocket.session import websocket_routes


def create_api(service: SpeechService, limits: Limits) -> FastAPI:
    app = FastAPI(
        title="Voicegraph",
        version=version("voicegraph"),
        description="Text to speech, compatible with OpenAI's audio interface.",
        docs_url=None,  # see docs_routes
        redoc_url=None,
        responses=errors.ERRORS,
        strict_content_type=False,  # small clients name no type for their JSON
    )
    errors.install(app)
    app.add_middleware(BodyLimit, max_bytes=limits.max_body_bytes)
    app.include_router(speech_routes(service))
    app.include_router(batch_routes(service))
    app.include_router(websocket_routes(service, limits))
    app.include_router(catalogue_routes(service))
    app.include_router(voice_routes(service))
    app.include_router(system_routes(service))
    app.include_router(page_routes())
    app.include_router(docs_routes(app.title))
    return app
