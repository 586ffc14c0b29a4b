"""The page at / and its files."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from deployments.core.errors import NotFound

WEB = Path(__file__).parent.parent / "web"
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def page_routes() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    files = {path.name: path for path in WEB.iterdir() if path.suffix in MEDIA_TYPES}

    @routes.get("/")
    async def page() -> FileResponse:
        return _file(files["index.html"])

    @routes.get("/web/{name}")
    async def file(name: str) -> FileResponse:
        if name not in files:
            raise NotFound(f"there is no /web/{name}")
        return _file(files[name])

    return routes


def _file(path: Path) -> FileResponse:
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers={"Cache-Control": "no-cache"})
