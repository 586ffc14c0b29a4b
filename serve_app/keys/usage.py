"""What each key has used of its limits, as far as this process knows.

Every Ingress replica counts for itself. To count together each request would have to ask another process, which takes
as long as everything else that happens before a model is asked (docs/security.md). The library `limits` counts in
memory with the help of threads, which it starts all the time; here one event loop serves everybody.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from deployments.core.errors import Forbidden, RateLimited
from serve_app.keys.api_key import ApiKey

MINUTE_S = 60.0
DAY_S = 86_400.0
STREAM_RETRY_S = 1.0  # nobody knows when one of the others ends


@dataclass(slots=True)
class _Day:
    began_s: float
    characters: int = 0


class KeyUsage:
    """Used from one event loop. Raises RateLimited, which says when to come back."""

    def __init__(self) -> None:
        self._requests: dict[str, deque[float]] = {}  # when they came, of the last minute
        self._days: dict[str, _Day] = {}
        self._streams: dict[str, Counter[str]] = {}

    def request(self, key: ApiKey) -> None:
        """Count a request of HTTP, or a session."""
        if key.requests_per_minute is None:
            return
        now_s = time.monotonic()
        sent = self._requests.setdefault(key.id, deque())
        while sent and now_s - sent[0] >= MINUTE_S:
            sent.popleft()
        if len(sent) >= key.requests_per_minute:
            raise RateLimited(
                f"this key may send {key.requests_per_minute} requests a minute",
                retry_after_s=max(1.0, sent[0] + MINUTE_S - now_s),
            )
        sent.append(now_s)

    @contextmanager
    def stream(self, key: ApiKey, listener: str) -> Generator[None, None, None]:
        """Hold one of the key's streams; all that `listener` hears at the same time is one."""
        held = self._streams.setdefault(key.id, Counter())
        if key.streams is not None and listener not in held and len(held) >= key.streams:
            raise RateLimited(
                f"this key may have {key.streams} texts spoken at the same time, and so many are",
                retry_after_s=STREAM_RETRY_S,
            )
        held[listener] += 1
        try:
            yield
        finally:
            held[listener] -= 1
            if not held[listener]:
                del held[listener]
            if not held:
                self._streams.pop(key.id, None)

    def streams_of(self, key_id: str) -> int:
        return len(self._streams.get(key_id, ()))

    def take_characters(self, key: ApiKey, count: int) -> None:
        """Count characters that are to be spoken. A day begins with the first of them and lasts 24 hours."""
        most = key.characters_per_day
        if most is None:
            return
        if count > most:
            raise Forbidden(
                f"the text has {count} characters; this key may have {most} spoken in a day",
                code="quota_too_small",
            )
        now_s = time.monotonic()
        day = self._days.get(key.id)
        if day is None or now_s - day.began_s >= DAY_S:
            day = self._days[key.id] = _Day(now_s)
        if day.characters + count > most:
            raise RateLimited(
                f"this key may have {most} characters spoken in 24 hours, of which {most - day.characters} are left",
                code="quota_exceeded",
                retry_after_s=max(1.0, day.began_s + DAY_S - now_s),
            )
        day.characters += count

    def give_back_characters(self, key: ApiKey, count: int) -> None:
        """Of a text of which nothing was spoken."""
        day = self._days.get(key.id)
        if day is not None:
            day.characters = max(0, day.characters - count)
