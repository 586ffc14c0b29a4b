"""A generator that works in the background while its consumer does something else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

T = TypeVar("T")


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class ReadAhead(Generic[T]):
    """Runs `source` in a task of its own from now on; iterate over it, and close it in `finally`.

    An error of the source comes after the items made before it. `aclose` cancels the source and returns when its
    cleanup has run. `limit` bounds the items made ahead; 0: no bound.
    """

    def __init__(self, source: AsyncGenerator[T, None], limit: int = 0) -> None:
        self._items: asyncio.Queue[T | _End] = asyncio.Queue(limit)
        self._end: _End | None = None
        self._task = asyncio.create_task(self._run(source))

    def __aiter__(self) -> ReadAhead[T]:
        return self

    async def __anext__(self) -> T:
        if self._end is None:
            item = await self._items.get()
            if not isinstance(item, _End):
                return item
            self._end = item
        if self._end.error is not None:
            raise self._end.error
        raise StopAsyncIteration

    def ready(self) -> bool:
        """Whether the next item, the end or an error is there already."""
        return self._end is not None or not self._items.empty()

    def cancel(self) -> None:
        self._task.cancel()

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self, source: AsyncGenerator[T, None]) -> None:
        error: BaseException | None = None
        try:
            async with contextlib.aclosing(source):
                async for item in source:
                    await self._items.put(item)
        except Exception as caught:  # belongs to the consumer, who raises it
            error = caught
        except asyncio.CancelledError as caught:
            # At shutdown the task may be cancelled from outside; who waits for items must not wait for ever.
            if self._items.full():
                self._items.get_nowait()
            self._items.put_nowait(_End(caught))
            raise
        await self._items.put(_End(error))
