from __future__ import annotations

import asyncio
import math
import pickle

import pytest

from deployments.core import deadline as module
from deployments.core.deadline import NEVER, Deadline, before, watched, within
from deployments.core.errors import DeadlineExceeded


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The one figure in it is the time."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_what_is_left(clock: list[float]) -> None:
    deadline = Deadline.after(5)
    assert (deadline.left_s, deadline.passed) == (5, False)
    clock[0] += 5
    assert (deadline.left_s, deadline.passed) == (0, True)
    clock[0] += 2
    assert (deadline.left_s, deadline.passed) == (-2, True)


def test_pickled_it_keeps_what_is_left(clock: list[float]) -> None:
    """The other process has another clock: here it is set back by a day."""
    data = pickle.dumps(Deadline.after(5))
    clock[0] -= 86_400
    assert pickle.loads(data).left_s == 5
    late = Deadline.after(-3)
    assert pickle.loads(pickle.dumps(late)).passed


def test_never(clock: list[float]) -> None:
    for never in (NEVER, pickle.loads(pickle.dumps(NEVER))):
        assert (never.left_s, never.passed) == (math.inf, False)


async def test_work_that_is_done_in_time() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    assert await before(Deadline.after(60), work(), "it was not done") == "done"
    assert await before(NEVER, work(), "it was not done") == "done"


@pytest.mark.parametrize("allowed_s", [0.02, 0.0, -1.0])
async def test_work_that_is_not_is_stopped(allowed_s: float) -> None:
    running = 0

    async def work() -> None:
        nonlocal running
        running += 1
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            running -= 1

    with pytest.raises(DeadlineExceeded, match="it was not done within the time allowed") as caught:
        await before(Deadline.after(allowed_s), work(), "it was not done")
    assert caught.value.retry_after_s
    assert running == 0


async def test_an_error_of_the_work_stays_what_it_is() -> None:
    """Also one that looks as if the deadline had passed."""

    async def work(error: Exception) -> None:
        raise error

    for error in (ValueError("wrong"), TimeoutError("of something else"), asyncio.TimeoutError("too")):
        with pytest.raises(type(error), match=str(error)):
            await before(Deadline.after(60), work(error), "it was not done")


async def test_whoever_stops_waiting_stops_the_work() -> None:
    stopped = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    waiting = asyncio.create_task(before(Deadline.after(60), work(), "it was not done"))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert stopped.is_set()


async def test_whoever_stops_waiting_is_stopped_even_as_the_work_ends() -> None:
    """asyncio.wait_for before Python 3.12 returns the result instead, and the caller goes on."""
    for turns in range(4):  # the loop's passes between the end of the work and the cancellation
        done = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(within(5.0, done))
        await asyncio.sleep(0)
        done.set_result(1)
        for _ in range(turns):
            await asyncio.sleep(0)
        ended = waiting.done()
        waiting.cancel()
        if ended:
            assert await waiting == 1
        else:
            with pytest.raises(asyncio.CancelledError):
                await waiting


async def test_whoever_looks_after_work_may_end_it() -> None:
    looks, stopped = [], asyncio.Event()

    async def work() -> int:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return 1

    async def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise ValueError("it is gone")

    with pytest.raises(ValueError, match="it is gone"):
        await watched(look, 0.01, work())
    assert stopped.is_set()
    assert len(looks) == 3


async def test_work_that_ends_soon_is_not_looked_at() -> None:
    async def work(error: Exception | None) -> int:
        if error is not None:
            raise error
        return 1

    async def look() -> None:
        raise AssertionError

    assert await watched(look, 5.0, work(None)) == 1
    with pytest.raises(ValueError, match="wrong"):
        await watched(look, 5.0, work(ValueError("wrong")))
