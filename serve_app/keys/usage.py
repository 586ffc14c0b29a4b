"""What each key has used of its limits: here, and at the other Ingress replicas as of their last report.

No request waits for another process to count it (docs/security.md). The library `limits` counts in memory with the help
of threads, which it starts all the time; here one event loop serves everybody.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from deployments.core.errors import Forbidden, RateLimited
from serve_app.keys.api_key import ApiKey

MINUTE_S = 60.0
DAY_S = 86_400.0
STREAM_RETRY_S = 1.0  # nobody knows when one of the others ends
FRESH_S = 10.0  # for which a report of the others counts


@dataclass(slots=True)
class _Day:
    began_s: float
    characters: int = 0


@dataclass(frozen=True, slots=True)
class Used:
    """Of one key's limits. `free_in_s`: until the first of its requests is a minute old."""

    requests: int = 0
    free_in_s: float = MINUTE_S
    streams: int = 0
    characters: int = 0

    def __add__(self, other: Used) -> Used:
        return Used(
            self.requests + other.requests,
            min(self.free_in_s, other.free_in_s),
            self.streams + other.streams,
            self.characters + other.characters,
        )


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What one process has counted. `origin`: which."""

    origin: str
    keys: Mapping[str, Used] = field(default_factory=dict)  # by their ids


class KeyUsage:
    """Used from one event loop. Raises RateLimited, which says when to come back.

    `when_used` is called whenever a key with limits is used.
    """

    def __init__(self) -> None:
        self.when_used: Callable[[], None] = lambda: None
        self._origin = uuid.uuid4().hex
        self._others: dict[str, Used] = {}
        self._heard_s = -FRESH_S
        self._requests: dict[str, deque[float]] = {}  # when they came, of the last minute
        self._days: dict[str, _Day] = {}
        self._streams: dict[str, Counter[str]] = {}

    def request(self, key: ApiKey) -> None:
        """Count a request of HTTP, or a session."""
        if key.requests_per_minute is None:
            return
        self.when_used()
        used = self._own(key.id) + self._elsewhere(key.id)
        if used.requests >= key.requests_per_minute:
            raise RateLimited(
                f"this key may send {key.requests_per_minute} requests a minute",
                retry_after_s=max(1.0, used.free_in_s),
            )
        self._requests.setdefault(key.id, deque()).append(time.monotonic())

    @contextmanager
    def stream(self, key: ApiKey, listener: str) -> Generator[None, None, None]:
        """Hold one of the key's streams; all that `listener` hears at the same time is one."""
        held = self._streams.setdefault(key.id, Counter())
        if key.streams is not None and listener not in held:
            self.when_used()
            if len(held) + self._elsewhere(key.id).streams >= key.streams:
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
        self.when_used()
        now_s = time.monotonic()
        day = self._days.get(key.id)
        if day is None or now_s - day.began_s >= DAY_S:
            day = self._days[key.id] = _Day(now_s)
        left = max(0, most - day.characters - self._elsewhere(key.id).characters)
        if count > left:
            raise RateLimited(
                f"this key may have {most} characters spoken in 24 hours, of which {left} are left",
                code="quota_exceeded",
                retry_after_s=max(1.0, day.began_s + DAY_S - now_s),
            )
        day.characters += count

    def give_back_characters(self, key: ApiKey, count: int) -> None:
        """Of a text of which nothing was spoken."""
        day = self._days.get(key.id)
        if day is not None:
            day.characters = max(0, day.characters - count)

    @property
    def in_use(self) -> bool:
        """Whether a request of the last minute, or a stream, counts against a limit."""
        return any(used.requests or used.streams for used in self.report().keys.values())

    def report(self) -> UsageReport:
        """What was used here."""
        ids = {*self._requests, *self._streams, *self._days}
        return UsageReport(self._origin, {key_id: self._own(key_id) for key_id in ids})

    def hear(self, reports: Sequence[UsageReport]) -> None:
        """Take what the others have counted; one's own report is passed over."""
        self._others = {}
        for report in reports:
            if report.origin != self._origin:
                for key_id, used in report.keys.items():
                    self._others[key_id] = self._others.get(key_id, Used()) + used
        self._heard_s = time.monotonic()

    def _own(self, key_id: str) -> Used:
        now_s = time.monotonic()
        sent = self._requests.get(key_id, deque())
        while sent and now_s - sent[0] >= MINUTE_S:
            sent.popleft()
        day = self._days.get(key_id)
        return Used(
            len(sent),
            sent[0] + MINUTE_S - now_s if sent else MINUTE_S,
            self.streams_of(key_id),
            day.characters if day is not None and now_s - day.began_s < DAY_S else 0,
        )

    def _elsewhere(self, key_id: str) -> Used:
        fresh = time.monotonic() - self._heard_s < FRESH_S
        return self._others.get(key_id, Used()) if fresh else Used()
