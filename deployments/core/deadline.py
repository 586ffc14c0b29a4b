"""The moment until which a result is wanted: set at the arrival of a request, carried by every job."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from deployments.core.errors import DeadlineExceeded

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time of this process's monotonic clock. Pickled as the seconds that are left, because no two machines share
    such a clock; what the message takes to travel is then added to the time allowed."""

    at_s: float

    @staticmethod
    def after(seconds: float) -> Deadline:
        return Deadline(time.monotonic() + seconds)

    @property
    def left_s(self) -> float:
        """Below 0 once it has passed; infinite for NEVER."""
        return self.at_s - time.monotonic()

    @property
    def passed(self) -> bool:
        return self.left_s <= 0

    def __reduce__(self) -> tuple[object, ...]:
        return Deadline.after, (self.left_s,)


NEVER = Deadline(math.inf)


async def within(seconds: float | None, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled after so many seconds: TimeoutError. None: as long as it takes.

    As asyncio.wait_for, but the cancellation of its caller is never lost. Before Python 3.12 that one forgets it where
    `work` is done at the same moment, and its caller goes on for a client who has left.
    """
    if seconds is None:
        return await work
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        await _stop(task)


async def watched(look: Callable[[], Awaitable[None]], every_s: float, work: Awaitable[T]) -> T:
    """The result of `work`, at which `look` looks every so many seconds: what it raises cancels the work."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=every_s))[0]:
            await look()
        return task.result()
    finally:
        await _stop(task)


async def _stop(task: asyncio.Future[Any]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # asked for, so that nobody is told of one that nobody waits for


async def before(deadline: Deadline, work: Awaitable[T], what: str) -> T:
    """The result of `work`, which is cancelled when the deadline passes: DeadlineExceeded then says that `what` was
    not done in time."""
    left_s = deadline.left_s
    try:
        return await within(None if left_s == math.inf else max(0.0, left_s), work)
    except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
        if not deadline.passed:  # then it is an error of the work itself
            raise
        raise DeadlineExceeded(f"{what} within the time allowed; try again", retry_after_s=2) from None
