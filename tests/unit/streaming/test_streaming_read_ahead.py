from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from deployments.streaming.read_ahead import ReadAhead


class Source:
    def __init__(self, count: int, fail_at: int | None = None) -> None:
        self.count = count
        self.fail_at = fail_at
        self.made = 0
        self.closed = False

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self.count):
                await asyncio.sleep(0)
                if number == self.fail_at:
                    raise ValueError("broken")
                self.made += 1
                yield number
        finally:
            await asyncio.sleep(0)
            self.closed = True


async def test_items_are_made_before_they_are_asked_for() -> None:
    source = Source(5)
    ahead = ReadAhead(source.items())
    assert not ahead.ready()
    for _ in range(20):
        await asyncio.sleep(0)
    assert source.made == 5
    assert ahead.ready()
    assert [item async for item in ahead] == list(range(5))
    assert ahead.ready()
    with pytest.raises(StopAsyncIteration):
        await anext(ahead)
    await ahead.aclose()


async def test_a_limit_bounds_what_is_made_ahead() -> None:
    source = Source(10)
    ahead = ReadAhead(source.items(), limit=2)
    for _ in range(50):
        await asyncio.sleep(0)
    assert source.made == 3
    assert [item async for item in ahead] == list(range(10))


async def test_an_error_comes_after_the_items_before_it_and_again_when_asked_again() -> None:
    source = Source(5, fail_at=2)
    ahead = ReadAhead(source.items())
    assert [await anext(ahead), await anext(ahead)] == [0, 1]
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await anext(ahead)
    await ahead.aclose()
    assert source.closed


@pytest.mark.parametrize("turns", range(8))
async def test_closing_waits_for_the_cleanup_of_the_source(turns: int) -> None:
    source = Source(3)
    ahead = ReadAhead(source.items(), limit=1)
    for _ in range(turns):
        await asyncio.sleep(0)
    await ahead.aclose()
    await ahead.aclose()
    assert source.closed or turns == 0  # a source that has not begun has nothing to clean up
    assert len(asyncio.all_tasks()) == 1


async def test_who_waits_for_an_item_is_told_of_a_cancellation_from_outside() -> None:
    ahead = ReadAhead(Source(3).items(), limit=1)
    await anext(ahead)
    for _ in range(10):
        await asyncio.sleep(0)
    ahead.cancel()

    async def drain() -> None:
        while True:
            await anext(ahead)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(drain(), 1)


async def test_who_waits_is_told_of_a_cancellation_before_the_first_step() -> None:
    ahead = ReadAhead(Source(3).items())
    ahead.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(anext(ahead), 1)
    assert ahead.ready()
    await ahead.aclose()
