"""Threads for blocking work, apart by kind: what is slow in one kind keeps no other waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from deployments.core.deadline import within

T = TypeVar("T")


class Workers:
    """A few threads of their own, started with the first work."""

    def __init__(self, kind: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=kind)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        return self._executor.submit(work)

    async def run(self, work: Callable[[], T], *, within_s: float | None = None) -> T:
        """The result of `work`. Raises TimeoutError after `within_s`; a thread that has begun goes on by itself."""
        future = asyncio.wrap_future(self.submit(work))
        return await within(within_s, future)
