"""When requests are sent: so many at a time, or at random times that do not wait for the server."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# Called with the number of the request and with how many seconds after its planned time it leaves.
Send = Callable[[int, float], Awaitable[T]]


@dataclass(frozen=True)
class ClosedLoop:
    """`concurrency` users who each send the next request when the last one is answered, `requests` in all."""

    concurrency: int
    requests: int

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.requests < 1:
            raise ValueError(
                f"concurrency {self.concurrency} and requests {self.requests} must be at least 1"
            )

    async def run(self, send: Send[T]) -> list[T]:
        """Results in the order of the request numbers."""
        results: dict[int, T] = {}
        numbers = iter(range(self.requests))

        async def user() -> None:
            for number in numbers:
                results[number] = await send(number, 0.0)

        await _all_or_none(
            [asyncio.ensure_future(user()) for _ in range(min(self.concurrency, self.requests))]
        )
        return [results[number] for number in sorted(results)]


@dataclass(frozen=True)
class OpenLoop:
    """Poisson arrivals: users who do not know of each other, so a slow server gets no relief."""

    rate_per_s: float
    duration_s: float
    seed: int

    def __post_init__(self) -> None:
        if not (0 < self.rate_per_s < math.inf and 0 < self.duration_s < math.inf):
            raise ValueError(f"rate {self.rate_per_s:g}, duration {self.duration_s:g}: both must be above 0")

    def offsets_s(self) -> list[float]:
        """Planned times since the start, ascending, all below `duration_s`; the same for the same seed."""
        draws = random.Random(self.seed)
        offsets: list[float] = []
        at_s = draws.expovariate(self.rate_per_s)
        while at_s < self.duration_s:
            offsets.append(at_s)
            at_s += draws.expovariate(self.rate_per_s)
        return offsets

    async def run(self, send: Send[T]) -> list[T]:
        """Results in the order of the planned times; empty where no arrival falls within the duration."""
        start_s = time.perf_counter()

        async def at(number: int, offset_s: float) -> T:
            await asyncio.sleep(max(0.0, start_s + offset_s - time.perf_counter()))
            return await send(number, max(0.0, time.perf_counter() - start_s - offset_s))

        return await _all_or_none(
            [asyncio.ensure_future(at(number, offset_s)) for number, offset_s in enumerate(self.offsets_s())]
        )


Load = ClosedLoop | OpenLoop


async def _all_or_none(tasks: list[asyncio.Future[T]]) -> list[T]:
    """Wait for all; the first exception, or a cancellation, ends the others as well."""
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
