"""Several calls into the graph on behalf of one client, each with a fate of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


def apart(begin: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`begin(…)`, which creates a task, with a context of its own.

    Ray Serve counts all calls made in the context of one request as that request, so that the end of one of them by
    failure or cancellation would cancel what the others have going in the router.
    """
    return Context().run(begin, *args, **kwargs)
