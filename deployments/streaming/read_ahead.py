"""Working ahead of the consumer: a generator in the background."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Runs `source` in a task of its own from now on; iterate over it, and close it in `finally`.

    An error of the source comes after the items made before it. `aclose` cancels the source and returns when its
    cleanup has run. `limit` bounds the items made ahead; 0: no bound.
    """

    def __init__(self, source: AsyncGenerator[T, None], limit: int = 0) -> None:
        self._items: deque[T] = deque()
        self._limit = limit
        self._changed = asyncio.Event()  # an item, or the end
        self._taken = asyncio.Event()
        self._task = asyncio.create_task(self._run(source))
        # Also where the task is cancelled before its first step, when none of `_run` is ever executed.
        self._task.add_done_callback(self._ended)

    def __aiter__(self) -> ReadAhead[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._task.done():
                self._task.result()  # raises what ended it
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        self._taken.set()
        return self._items.popleft()

    def ready(self) -> bool:
        """Whether the next item, the end or an error is there already."""
        return bool(self._items) or self._task.done()

    def cancel(self) -> None:
        self._task.cancel()

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self, source: AsyncGenerator[T, None]) -> None:
        async with contextlib.aclosing(source):
            async for item in source:
                while self._limit and len(self._items) >= self._limit:
                    self._taken.clear()
                    await self._taken.wait()
                self._items.append(item)
                self._changed.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # belongs to the consumer, who may have left
        self._changed.set()
