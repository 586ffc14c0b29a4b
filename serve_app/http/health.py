"""Probes: /livez says that the ingress runs, /readyz that every model answers, /version what is running."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from serve_app.http.service import SpeechService


def health_routes(service: SpeechService) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/livez", summary="The ingress is alive")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/readyz", summary="Per model, whether it answers; 503 unless all do")
    @routes.get("/health", include_in_schema=False)
    async def readyz() -> JSONResponse:
        models = await service.status()
        ready = all(models.values())
        content: dict[str, Any] = {
            "ready": ready,
            "models": {name: {"ready": ok} for name, ok in models.items()},
        }
        return JSONResponse(content, status_code=200 if ready else 503)

    @routes.get("/version", summary="The running version")
    async def running_version() -> dict[str, str]:
        return {"name": "voicegraph", "version": version("voicegraph")}

    return routes
