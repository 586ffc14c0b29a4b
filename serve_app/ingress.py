"""The Ingress deployment: protocol only."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from serve_app.client import RouterClient
from serve_app.config import Limits
from serve_app.http.application import create_api
from serve_app.observe.answers import CountedAnswers
from serve_app.telemetry import HttpTelemetry


class Ingress:
    """FastAPI in front of the router; the builder wraps it with `serve.ingress()`."""

    def __init__(self, router: DeploymentHandle[Any], limits: Limits, cors_origins: tuple[str, ...]) -> None:
        self._service = RouterClient(router)
        self._limits = limits
        self._cors_origins = cors_origins

    def __serve_build_asgi_app__(self) -> FastAPI:
        # Serve asks for the application by this name where `serve.ingress()` was given none (core/ray_internals.py).
        api = create_api(self._service, self._limits, self._cors_origins)
        # The last one added is the outermost: what no route answers is counted, too.
        api.add_middleware(CountedAnswers, api=api, answered=HttpTelemetry().answered)
        return api
