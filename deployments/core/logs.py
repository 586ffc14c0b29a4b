"""Log lines that say which request they belong to."""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping
from typing import Any

# Serve writes only what comes through this logger into the logs of its replicas.
logger = logging.getLogger("ray.serve")


def ids_of(jobs: Iterable[object]) -> str:
    """The requests of jobs that failed together, for a line about all of them."""
    ids = dict.fromkeys(str(getattr(job, "request_id", "?")) for job in jobs)
    return f"[requests {' '.join(ids)}]"


class RequestLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the id of a request: Serve knows it only inside the request's own context, not in an engine's thread."""

    def __init__(self, request_id: str) -> None:
        # Of a client's own making: a percent sign in it would break lines with arguments.
        super().__init__(logger, {"request_id": request_id.replace("%", "%%")})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        assert self.extra is not None
        return f"{msg} [request {self.extra['request_id']}]", kwargs
