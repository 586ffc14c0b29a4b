"""The interactive documentation at /docs, from files of this installation: FastAPI's own loads a public host's."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from deployments.core.errors import NotFound

MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


def docs_routes(title: str) -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    async def page() -> HTMLResponse:
        # All addresses are relative, because the application may be mounted below a prefix.
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=title,
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url="docs/favicon-32x32.png",
            # Swagger UI would send the document to its maker's host for a badge.
            swagger_ui_parameters={"validatorUrl": None},
        )

    @routes.get("/docs/{name}")
    async def file(name: str) -> Response:
        if name not in MEDIA_TYPES:
            raise NotFound(f"there is no /docs/{name}")
        content = (files("fastapi_swagger.resources") / name).read_bytes()
        return Response(content, media_type=MEDIA_TYPES[name], headers={"Cache-Control": "max-age=86400"})

    return routes
