"""Where the OpenAPI document says how a key is sent: tools and the page at /docs then ask for one."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from serve_app.http.authentication import KEY_HEADERS, OPEN

SCHEMES: dict[str, dict[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    **{name: {"type": "apiKey", "in": "header", "name": name} for name in KEY_HEADERS},
}


def describe_keys(app: FastAPI) -> None:
    """Every operation takes a key in any of these ways, except those that are open."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        document = plain()
        document.setdefault("components", {})["securitySchemes"] = SCHEMES
        for path, operations in document["paths"].items():
            for operation in operations.values():
                operation["security"] = [] if path in OPEN else [{name: []} for name in SCHEMES]
        return document

    app.openapi = described  # type: ignore[method-assign]
