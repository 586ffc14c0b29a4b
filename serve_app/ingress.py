"""The Ingress deployment: protocol only."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from serve_app.client import RouterClient
from serve_app.config import HttpSettings
from serve_app.http.application import create_api


class Ingress:
    """FastAPI in front of the router; the builder wraps it with `serve.ingress()`."""

    def __init__(self, router: DeploymentHandle[Any], settings: HttpSettings) -> None:
        self._service = RouterClient(router)
        self._settings = settings

    def __serve_build_asgi_app__(self) -> FastAPI:
        # Serve's hook for applications that need the replica's own state (`serve.ingress()` without an app).
        return create_api(self._service, self._settings)
