"""Bodies are JSON and have to say so, except the upload of a voice, which is a form."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.core.errors import UnsupportedMedia
from serve_app.http.errors import error_response
from serve_app.http.framing import route_path

FORMS = frozenset(("/v1/audio/voices",))  # check their type themselves
WITH_BODY = ("POST", "PUT", "PATCH")
JSON = re.compile(r"application/([\w.+-]+\+)?json", re.ASCII)
CURL_DEFAULT = "application/x-www-form-urlencoded"


class JsonBodies:
    """ASGI middleware: 415 for a body of another type.

    A browser sends `text/plain` and forms for any page without asking this server first, so JSON under these names may
    come from anywhere. What names no type is read as JSON, because small clients leave it out, and so is what `curl -d`
    calls its data; not from a browser, which a page can bring to send both.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in WITH_BODY or route_path(scope) in FORMS:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        from_a_browser = "origin" in headers or "sec-fetch-site" in headers
        if JSON.fullmatch(kind) or not _has_body(headers):
            await self._app(scope, receive, send)
        elif kind in ("", CURL_DEFAULT) and not from_a_browser:
            others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
            named = [*others, (b"content-type", b"application/json")]
            await self._app({**scope, "headers": named}, receive, send)
        else:
            error = UnsupportedMedia(
                f"the body is sent as {kind[:60] or 'no type'!r}; it must be JSON, sent as "
                "Content-Type: application/json"
            )
            await error_response(error)(scope, receive, send)


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
