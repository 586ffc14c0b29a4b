from __future__ import annotations

import asyncio
import random
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.streaming.read_ahead import in_order


class Call:
    """A response that takes a while and can be cancelled."""

    def __init__(self, job: int, delay_s: float = 0, fails: bool = False) -> None:
        self.job = job
        self.cancelled = False
        self._task = asyncio.ensure_future(self._run(delay_s, fails))

    async def _run(self, delay_s: float, fails: bool) -> str:
        await asyncio.sleep(delay_s)
        if fails:
            raise ValueError(f"job {self.job}")
        return f"result {self.job}"

    def __await__(self) -> Generator[Any, None, str]:
        return self._task.__await__()

    def cancel(self) -> None:
        self.cancelled = True
        self._task.cancel()

    @property
    def done(self) -> bool:
        return self._task.done()


class Stage:
    def __init__(self, delays_s: dict[int, float] | None = None, fails_at: int | None = None) -> None:
        self.calls: list[Call] = []
        self._delays_s = delays_s or {}
        self._fails_at = fails_at

    def submit(self, job: int) -> Call:
        self.calls.append(Call(job, self._delays_s.get(job, 0), job == self._fails_at))
        return self.calls[-1]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 12), ahead=st.integers(0, 5), seed=st.integers(0, 100))
async def test_results_come_in_order_and_so_many_are_ahead(count: int, ahead: int, seed: int) -> None:
    luck = random.Random(seed)
    stage = Stage({job: luck.choice([0, 0, 0.001]) for job in range(count)})
    seen = []
    async for job, result in in_order(range(count), stage.submit, ahead):
        assert len(stage.calls) <= len(seen) + 1 + ahead
        assert len(stage.calls) == min(count, len(seen) + 1 + ahead)
        seen.append((job, result))
    assert seen == [(job, f"result {job}") for job in range(count)]
    assert not any(call.cancelled for call in stage.calls)


@pytest.mark.parametrize("taken", [0, 1, 3])
async def test_closing_cancels_what_was_submitted_and_not_yielded(taken: int) -> None:
    stage = Stage(dict.fromkeys(range(3, 10), 60.0))
    results = in_order(range(10), stage.submit, 2)
    for _ in range(taken):
        await anext(results)
    await results.aclose()
    assert [call.cancelled for call in stage.calls] == [False] * taken + [True] * (2 if taken else 0)


async def test_cancelling_the_consumer_cancels_the_awaited_call_as_well() -> None:
    stage = Stage(dict.fromkeys(range(10), 60.0))

    async def consume() -> None:
        async for _ in in_order(range(10), stage.submit, 2):
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [call.cancelled for call in stage.calls] == [True] * 3


async def test_an_error_comes_in_its_place_and_stops_the_rest() -> None:
    stage = Stage({5: 60.0, 6: 60.0}, fails_at=4)
    results = in_order(range(10), stage.submit, 2)
    assert [(await anext(results))[0] for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="job 4"):
        await anext(results)
    assert [call.cancelled for call in stage.calls[5:]] == [True, True]
    await asyncio.sleep(0)
    assert all(call.done for call in stage.calls)
