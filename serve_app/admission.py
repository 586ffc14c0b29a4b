"""Bounded admission: so many requests run, so many wait, and the next is told at once when to come back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from deployments.core.errors import Overloaded


class Admission:
    """First come, first served; used from one event loop."""

    def __init__(self, max_active: int, max_queued: int, retry_after_s: float) -> None:
        self._max_active = max_active
        self._max_queued = max_queued
        self._retry_after_s = retry_after_s
        self._turns: deque[asyncio.Future[None]] = deque()
        self.active = 0

    @property
    def queued(self) -> int:
        return len(self._turns)

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None, None]:
        """Wait for a place and hold it. Raises Overloaded without waiting when the queue is full."""
        if self.active >= self._max_active or self._turns:
            await self._wait()
        else:
            self.active += 1
        try:
            yield
        finally:
            self._release()

    async def _wait(self) -> None:
        if len(self._turns) >= self._max_queued:
            raise Overloaded(
                f"the server is full: {self.active} requests run and {self.queued} wait; "
                f"try again in {self._retry_after_s:g} s",
                retry_after_s=self._retry_after_s,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # the place was given to us in the same tick as we were cancelled
            elif turn in self._turns:  # else a place was offered between our cancellation and now
                self._turns.remove(turn)
            raise

    def _release(self) -> None:
        """Hand the place to the next in line, so that it is never free for a newcomer in between."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                return
        self.active -= 1
