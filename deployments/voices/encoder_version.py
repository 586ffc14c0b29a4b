"""Which version of a voice encoder makes profiles now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from deployments.core.ray_internals import own_context

TTL_S = 10.0  # after a rollout of weights in place, so long profiles of the old ones may be asked for


class EncoderVersion:
    """What `fetch` says, asked for again in the background when it is some seconds old. Used from one event loop."""

    def __init__(self, fetch: Callable[[], Coroutine[Any, Any, str]]) -> None:
        self._fetch = fetch
        self._version = ""
        self._at_s = 0.0
        self._refreshing: asyncio.Task[str] | None = None

    def learn(self, version: str) -> None:
        """It came along with a profile."""
        self._version, self._at_s = version, time.monotonic()

    async def current(self) -> str:
        if not self._version:
            return await self._fetched()
        if time.monotonic() - self._at_s > TTL_S and self._refreshing is None:
            # Of no request: several may wait for it.
            self._refreshing = own_context(asyncio.create_task, self._fetched())
            self._refreshing.add_done_callback(self._refreshed)
        return self._version

    async def _fetched(self) -> str:
        self.learn(await self._fetch())
        return self._version

    def _refreshed(self, task: asyncio.Task[str]) -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # the next request tries again
