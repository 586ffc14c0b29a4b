"""What HTTP has answered, by route: also what never came as far as a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fastapi import FastAPI
from starlette.routing import BaseRoute, Match, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OTHER = "other"  # a path that no route has: those of scanners are without number
Answered = Callable[[str, int], None]
"""Called with the path of the route and the status, once an answer begins."""


class CountedAnswers:
    """ASGI middleware, to be the outermost. `api` has all its routes by now."""

    def __init__(self, app: ASGIApp, api: FastAPI, answered: Answered) -> None:
        self._app = app
        self._routes = tuple(all_routes(api.router))
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = self._route(scope)
        begun = False

        async def counted(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._answered(route, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            if not begun:  # whoever catches it answers so
                self._answered(route, 500)
            raise

    def _route(self, scope: Scope) -> str:
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                return str(getattr(route, "path", OTHER))
        return OTHER


def all_routes(router: Router) -> Iterator[BaseRoute]:
    """With those of included routers, which FastAPI keeps apart."""
    for route in router.routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from all_routes(included)
