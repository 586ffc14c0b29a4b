"""Which pages of other origins may call this server from a browser: what they may read (CORS), and what they may do."""

from __future__ import annotations

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.core.errors import Forbidden
from serve_app.http.errors import refuse
from serve_app.http.headers import EXPOSED

ANY_PORT = ":*"
METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
HARMLESS = ("GET", "HEAD", "OPTIONS")
PRIVATE_NAMES = (
    ".localhost",
    ".local",
    ".internal",
    ".home.arpa",
    ".lan",
)  # nobody can register a name below
OF_THIS_ORIGIN = ("same-origin", "none")  # values of Sec-Fetch-Site, which no page can set


class CrossOrigin(CORSMiddleware):
    """Starlette's, for `origins` as the configuration has them: `https://example.com`, `http://localhost:*` or `*`."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=("*",) if "*" in origins else (),
            allow_origin_regex=_pattern(origins),
            allow_methods=METHODS,
            allow_headers=("*",),
            expose_headers=EXPOSED,
        )


class ForeignPages:
    """ASGI middleware: a page of any other origin than `origins` may change nothing and open no session.

    CORS alone would not do: it keeps such a page from reading an answer, but a browser sends its forms, uploads and
    WebSockets all the same. Programs that are no browsers send no Origin and are not concerned.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...], *, keyless: bool) -> None:
        """`keyless`: nothing but its address tells the server's own page from another."""
        self._app = app
        self._keyless = keyless
        self._all = "*" in origins
        self._allowed = re.compile(_pattern(origins))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_foreign(scope):
            origin = Headers(scope=scope)["origin"]
            error = Forbidden(
                f"pages of {origin[:100]} may not use this server; `cors_origins` in its configuration names those "
                "that may",
                code="origin_not_allowed",
            )
            await refuse(error, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        if self._all or not (
            scope["type"] == "websocket" or (scope["type"] == "http" and scope["method"] not in HARMLESS)
        ):
            return False
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None or self._allowed.fullmatch(origin):
            return False
        if (site := headers.get("sec-fetch-site")) is not None:
            return site not in OF_THIS_ORIGIN
        # The server's own page. A proxy in front may have put its own name for this server into Host.
        own = {headers.get(name, "").lower() for name in ("host", "x-forwarded-host")} - {""}
        scheme, _, host = origin.lower().partition("://")
        return host not in own or (self._keyless and scheme == "http" and not _is_ours_alone(host))


def _is_ours_alone(host: str) -> bool:
    """Whether no stranger can own `host`. Of a public name the owner may say one moment that it is his page's and the
    next that it is this machine (DNS rebinding); https, for which he would need a certificate, stops that."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return "." not in name or name.endswith(PRIVATE_NAMES)
    return True


def _pattern(origins: tuple[str, ...]) -> str:
    return "|".join(
        re.escape(origin.removesuffix(ANY_PORT)) + (r"(:\d+)?" if origin.endswith(ANY_PORT) else "")
        for origin in origins
    )
