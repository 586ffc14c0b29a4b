"""Which pages of other origins may call this server from a browser (CORS)."""

from __future__ import annotations

import re

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from serve_app.http.headers import EXPOSED

ANY_PORT = ":*"
METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")


class CrossOrigin(CORSMiddleware):
    """Starlette's, for `origins` as the configuration has them: `https://example.com`, `http://localhost:*` or `*`."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        patterns = (
            re.escape(origin.removesuffix(ANY_PORT)) + (r"(:\d+)?" if origin.endswith(ANY_PORT) else "")
            for origin in origins
        )
        super().__init__(
            app,
            allow_origins=("*",) if "*" in origins else (),
            allow_origin_regex="|".join(patterns),
            allow_methods=METHODS,
            allow_headers=("*",),
            expose_headers=EXPOSED,
        )
