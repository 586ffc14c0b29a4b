"""Log lines that say which request they belong to."""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping
from typing import Any

# Serve writes only what comes through this logger into the logs of its replicas.
logger = logging.getLogger("ray.serve")
# In JSON logs. Serve's own `request_id` is that of an HTTP request, which may hold several: a batch, a session.
REQUEST_FIELD = "speech_request_id"


def ids_of(jobs: Iterable[object]) -> str:
    """The requests of jobs that failed together, for a line about all of them."""
    ids = dict.fromkeys(request_id_of(job) or "?" for job in jobs)
    return f"[requests {' '.join(ids)}]"


def request_id_of(job: object) -> str:
    """Of a job, or of what an engine has made of it; empty where it has none."""
    found = getattr(job, "request_id", None) or getattr(getattr(job, "job", None), "request_id", None)
    return str(found or "")


class RequestLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the id of a request: Serve knows it only inside the request's own context, not in an engine's thread. Where
    logs are JSON it is a field, too; so are further ones, given as `extra`."""

    def __init__(self, request_id: str) -> None:
        super().__init__(logger, {"request_id": request_id})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        assert self.extra is not None
        request_id = str(self.extra["request_id"])
        kwargs["extra"] = {REQUEST_FIELD: request_id, **kwargs.get("extra", {})}
        # Of a client's own making: a percent sign in it would break lines with arguments.
        escaped = request_id.replace("%", "%%")
        return f"{msg} [request {escaped}]", kwargs
