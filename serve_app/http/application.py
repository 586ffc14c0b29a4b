"""The whole HTTP interface over a speech service; knows nothing of Ray."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from serve_app.config import HttpSettings
from serve_app.http import errors
from serve_app.http.batch import batch_routes
from serve_app.http.catalogue import catalogue_routes
from serve_app.http.docs import docs_routes
from serve_app.http.health import health_routes
from serve_app.http.page import page_routes
from serve_app.http.service import SpeechService
from serve_app.http.speech import speech_routes
from serve_app.http.voices import voice_routes
from serve_app.http.websocket import websocket_routes


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
