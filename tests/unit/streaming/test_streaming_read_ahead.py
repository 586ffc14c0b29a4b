from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from own_tasks import own_tasks

from deployments.streaming.playback import FIRST_DUE_S, Playback
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
    assert len(own_tasks()) == 1


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


def test_playback_counts_what_the_listener_still_has() -> None:
    now = [100.0]
    playback = Playback(lambda: now[0])
    assert playback.slack_s(0) == FIRST_DUE_S
    now[0] += FIRST_DUE_S
    playback.expect(0, 3.0)
    playback.expect(1, 2.0)
    assert [playback.slack_s(index) for index in range(3)] == [0, 3, 5]
    playback.sent(0, 1.0)
    now[0] += 0.4
    assert playback.slack_s(0) == pytest.approx(0.6)
    assert playback.slack_s(1) == pytest.approx(2.6)
    playback.complete(0)
    assert playback.slack_s(1) == pytest.approx(0.6)
    now[0] += 1.6
    assert playback.slack_s(1) == pytest.approx(-1.0)
    playback.sent(1, 0.5)
    assert playback.slack_s(1) == pytest.approx(0.5)  # the gap has been heard; what follows is later by it
    assert playback.audio_s == 1.5
