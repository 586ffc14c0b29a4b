"""The end of a server: nothing new is let in, and what is under way may come to its end."""

from __future__ import annotations

import time
from typing import Any

from deployments.core.ray_internals import called_on_all

POLL_S = 0.3
ANSWER_S = 5.0  # for all ingresses together


def drain(application: str, timeout_s: float) -> int:
    """Requests that are still under way after `timeout_s`: 0 where all came to their end before."""
    given_up_s = time.monotonic() + timeout_s
    while True:
        left = _under_way(application)
        if left == 0 or time.monotonic() > given_up_s:
            return left
        time.sleep(POLL_S)


def _under_way(application: str) -> int:
    try:
        counts: list[Any] = called_on_all("Ingress", application, "drain", timeout_s=ANSWER_S)
    except Exception:  # no ingress is left, or none that answers: then nobody is served either
        return 0
    return sum(counts)
