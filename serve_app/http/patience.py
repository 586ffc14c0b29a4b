"""Waiting for a place where a refusal would cost more than the wait."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from deployments.core.errors import Overloaded

T = TypeVar("T")

DEFAULT_WAIT_S = 1.0
SPREAD = 0.5  # waits are up to this much longer, so that those refused together do not come back together


async def patiently(attempt: Callable[[], Awaitable[T]], until_s: float) -> T:
    """The result of `attempt`, made again after every Overloaded, once the wait it asks for is over.

    Raises Overloaded where the next attempt would come after `until_s`, a time of `time.monotonic()`.
    """
    while True:
        try:
            return await attempt()
        except Overloaded as error:
            wait_s = (error.retry_after_s or DEFAULT_WAIT_S) * (1 + SPREAD * random.random())
            if time.monotonic() + wait_s > until_s:
                raise
        await asyncio.sleep(wait_s)
