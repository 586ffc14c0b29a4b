"""The whole HTTP interface over a speech service; knows nothing of Ray."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from serve_app.api import errors
from serve_app.api.batch import batch_routes
from serve_app.api.catalogue import catalogue_routes
from serve_app.api.docs import docs_routes
from serve_app.api.health import health_routes
from serve_app.api.page import page_routes
from serve_app.api.service import SpeechService
from serve_app.api.speech import speech_routes
from serve_app.api.voices import voice_routes
from serve_app.api.websocket import websocket_routes
from serve_app.config import HttpSettings


def create_api(service: SpeechService, settings: HttpSettings) -> FastAPI:
    app = FastAPI(
        title="Voicegraph",
        version=version("voicegraph"),
        description="Text to speech, compatible with OpenAI's audio interface.",
        docs_url=None,  # see docs_routes
        redoc_url=None,
    )
    errors.install(app)
    app.include_router(speech_routes(service, settings))
    app.include_router(batch_routes(service, settings))
    app.include_router(websocket_routes(service, settings))
    app.include_router(catalogue_routes(service))
    app.include_router(voice_routes(service, settings))
    app.include_router(health_routes(service))
    app.include_router(page_routes())
    app.include_router(docs_routes(app.title))
    return app
