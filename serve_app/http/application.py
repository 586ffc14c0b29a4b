"""The whole HTTP interface over a speech service; knows nothing of Ray."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from serve_app.config import AuthSettings, Limits
from serve_app.http import errors
from serve_app.http.authentication import Doorkeeper
from serve_app.http.batch import batch_routes
from serve_app.http.catalogue import catalogue_routes
from serve_app.http.content_type import JsonBodies
from serve_app.http.cross_origin import CrossOrigin, ForeignPages
from serve_app.http.framing import CleanPaths, HeadForGet, WholeForOldHttp
from serve_app.http.key_document import describe_keys
from serve_app.http.limits import BodyLimit
from serve_app.http.metered import MeteredService
from serve_app.http.packed_body import PackedBody
from serve_app.http.remote_recording import RemoteRecordings
from serve_app.http.route import route_routes
from serve_app.http.security_headers import SecurityHeaders
from serve_app.http.service import SpeechService
from serve_app.http.speech import speech_routes
from serve_app.http.status import status_routes
from serve_app.http.system import docs_routes, page_routes, system_routes
from serve_app.http.voices import voice_routes
from serve_app.http.websocket.session import websocket_routes
from serve_app.keys.key_ring import KeyRing
from serve_app.keys.usage import KeyUsage


def create_api(
    service: SpeechService,
    limits: Limits,
    cors_origins: tuple[str, ...] = (),
    auth: AuthSettings | None = None,
    usage: KeyUsage | None = None,
) -> FastAPI:
    """`usage`: what keys have used so far, of an interface that this one replaces."""
    app = FastAPI(
        title="Voicegraph",
        version=version("voicegraph"),
        description="Text to speech, compatible with OpenAI's audio interface.",
        docs_url=None,  # see docs_routes
        redoc_url=None,
        responses=errors.ERRORS,
        strict_content_type=False,  # small clients name no type for their JSON
    )
    app.state.remote_recordings = RemoteRecordings(limits.remote_audio_hosts)
    errors.install(app)
    # The last one added is the outermost.
    app.add_middleware(errors.Unforeseen)
    app.add_middleware(PackedBody, max_bytes=limits.max_body_bytes)
    app.add_middleware(BodyLimit, max_bytes=limits.max_body_bytes, timeout_s=limits.body_timeout_s)
    app.add_middleware(JsonBodies)
    app.add_middleware(HeadForGet)
    if auth is not None and auth.on:
        ring, usage = KeyRing(auth), usage or KeyUsage()
        service = MeteredService(service, ring, usage)
        describe_keys(app)
        app.add_middleware(Doorkeeper, ring=ring, usage=usage, private_voices=auth.private_voices)
    app.add_middleware(ForeignPages, origins=cors_origins, keyless=auth is None or not auth.on)
    app.add_middleware(CleanPaths)
    if cors_origins:
        app.add_middleware(CrossOrigin, origins=cors_origins)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(WholeForOldHttp)
    app.include_router(speech_routes(service))
    app.include_router(batch_routes(service))
    app.include_router(route_routes(service))
    app.include_router(websocket_routes(service, limits))
    app.include_router(catalogue_routes(service))
    app.include_router(voice_routes(service))
    app.include_router(system_routes(service))
    app.include_router(status_routes(service))
    app.include_router(page_routes())
    app.include_router(docs_routes())
    return app
