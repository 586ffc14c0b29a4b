"""Bounded admission to one model: so many requests run, so many wait, and the next is refused at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from deployments.core.errors import Overloaded


@dataclass(eq=False, slots=True)
class _Waiter:
    rows: int
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Admission:
    """First come, first served; used from one event loop.

    Requests are counted, and so are the rows that they take of the model's engine: `rows()` gives how many it has, None
    where rows do not matter. A request that takes more than all rows runs alone; the model refuses it if it must.
    """

    def __init__(
        self,
        model: str,
        *,
        max_active: int,
        max_queued: int,
        retry_after_s: float,
        rows: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._model = model
        self._max_active = max_active
        self._max_queued = max_queued
        self._retry_after_s = retry_after_s
        self._rows = rows
        self._waiting: deque[_Waiter] = deque()
        self._held_rows = 0
        self.active = 0

    @property
    def queued(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def slot(self, rows: int = 1) -> AsyncGenerator[None, None]:
        """Wait for a place and hold it. Raises Overloaded without waiting when the queue is full."""
        if self._waiting or not self._has_room(rows):
            await self._wait(rows)
        else:
            self._take(rows)
        try:
            yield
        finally:
            self._release(rows)

    def _has_room(self, rows: int) -> bool:
        if self.active == 0:
            return True
        all_rows = self._rows()
        return self.active < self._max_active and (all_rows is None or self._held_rows + rows <= all_rows)

    def _take(self, rows: int) -> None:
        self.active += 1
        self._held_rows += rows

    async def _wait(self, rows: int) -> None:
        if len(self._waiting) >= self._max_queued:
            raise Overloaded(
                f"model {self._model!r} is full: {self.active} requests run and {self.queued} wait; "
                f"try again in {self._retry_after_s:g} s",
                retry_after_s=self._retry_after_s,
            )
        waiter = _Waiter(rows)
        self._waiting.append(waiter)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                self._let_in()  # a narrower one may have waited behind it
            elif waiter.turn.done() and not waiter.turn.cancelled():
                self._release(rows)  # the place was given in the same tick as the wait was cancelled
            raise

    def _release(self, rows: int) -> None:
        self.active -= 1
        self._held_rows -= rows
        self._let_in()

    def _let_in(self) -> None:
        """Hand free places to those in line, so that none is free for a newcomer in between."""
        while self._waiting and self._has_room(self._waiting[0].rows):
            waiter = self._waiting.popleft()
            if not waiter.turn.cancelled():
                self._take(waiter.rows)
                waiter.turn.set_result(None)
