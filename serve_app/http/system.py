"""Routes about the server itself: probes, version, the page at / and the interactive documentation at /docs.

Both pages come from files of this installation: FastAPI's own documentation page loads a public host's.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, HTMLResponse
from pydantic import BaseModel

from deployments.core.errors import NotFound
from serve_app.http.security_headers import policy
from serve_app.http.service import SpeechService

WEB = Path(__file__).parent.parent / "web"
PAGE_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# All addresses are relative, because the application may be mounted below a prefix.
DOCS_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    "<title>Voicegraph: the HTTP interface</title>",
    '<link rel="icon" href="docs/favicon-32x32.png" type="image/png">',
    '<link rel="stylesheet" href="docs/swagger-ui.css">',
    '</head><body><div id="swagger-ui"></div>',
    '<script src="docs/swagger-ui-bundle.js"></script>',
    '<script src="web/docs.js"></script>',
    "</body></html>",
)
DOCS_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


class Alive(BaseModel):
    status: str


class Version(BaseModel):
    name: str
    version: str


class ModelState(BaseModel):
    ready: bool


class Readiness(BaseModel):
    ready: bool
    models: dict[str, ModelState]


def system_routes(service: SpeechService) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/livez", summary="The ingress is alive")
    async def livez() -> Alive:
        return Alive(status="ok")

    @routes.get(
        "/readyz",
        summary="Per model, whether it answers; 503 unless all do",
        responses={503: {"model": Readiness}},
    )
    @routes.get("/health", include_in_schema=False)
    async def readyz(response: Response) -> Readiness:
        models = await service.status()
        ready = all(models.values())
        response.status_code = 200 if ready else 503
        return Readiness(ready=ready, models={name: ModelState(ready=ok) for name, ok in models.items()})

    @routes.get("/version", summary="The running version")
    async def running_version() -> Version:
        return Version(name="voicegraph", version=version("voicegraph"))

    return routes


def page_routes() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    found = {path.name: path for path in WEB.iterdir() if path.suffix in PAGE_TYPES}

    @routes.get("/")
    async def page() -> FileResponse:
        return _page_file(found["index.html"])

    @routes.get("/web/{name}")
    async def file(name: str) -> FileResponse:
        if name not in found:
            raise NotFound(f"there is no /web/{name}")
        return _page_file(found[name])

    return routes


def _page_file(path: Path) -> FileResponse:
    return FileResponse(path, media_type=PAGE_TYPES[path.suffix], headers={"Cache-Control": "no-cache"})


def docs_routes() -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    async def page() -> HTMLResponse:
        swagger = policy(style_src="'self' 'unsafe-inline'")
        return HTMLResponse("\n".join(DOCS_PAGE), headers={"Content-Security-Policy": swagger})

    @routes.get("/docs/{name}")
    def file(name: str) -> Response:  # not async: it reads a file of 1.5 MB
        if name not in DOCS_TYPES:
            raise NotFound(f"there is no /docs/{name}")
        content = (files("fastapi_swagger.resources") / name).read_bytes()
        return Response(content, media_type=DOCS_TYPES[name], headers={"Cache-Control": "max-age=86400"})

    return routes
