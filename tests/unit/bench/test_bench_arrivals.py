from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from serve_app.bench.arrivals import ClosedLoop, OpenLoop


async def test_closed_loop_sends_all_and_keeps_exactly_so_many_in_flight() -> None:
    in_flight, seen = 0, []

    async def send(number: int, late_s: float) -> int:
        nonlocal in_flight
        in_flight += 1
        seen.append(in_flight)
        # Users of different patience, so that answers overtake each other.
        for _ in range(1 + number % 3):
            await asyncio.sleep(0)
        in_flight -= 1
        return number * number

    assert await ClosedLoop(concurrency=4, requests=30).run(send) == [number * number for number in range(30)]
    assert max(seen) == 4
    assert seen.count(4) > 20


async def test_closed_loop_with_more_users_than_requests() -> None:
    async def send(number: int, late_s: float) -> int:
        return number

    assert await ClosedLoop(concurrency=8, requests=2).run(send) == [0, 1]


def test_poisson_arrivals_are_seeded_and_exponential() -> None:
    load = OpenLoop(rate_per_s=50, duration_s=100, seed=7)
    offsets = load.offsets_s()
    assert offsets == load.offsets_s()
    assert offsets != OpenLoop(50, 100, seed=8).offsets_s()
    assert offsets == sorted(offsets)
    assert offsets[0] > 0
    assert offsets[-1] < 100
    # Four standard deviations of a Poisson count of 5000.
    assert len(offsets) == pytest.approx(5000, abs=4 * 5000**0.5)
    gaps = [later - earlier for earlier, later in pairwise(offsets)]
    # The exponential distribution: a share of 1/e of the gaps is longer than their mean.
    assert sum(gap > 1 / 50 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.03)


async def test_open_loop_sends_on_time_and_does_not_wait_for_answers() -> None:
    load = OpenLoop(rate_per_s=200, duration_s=0.1, seed=3)
    planned = load.offsets_s()
    last_is_sent = asyncio.Event()

    async def send(number: int, late_s: float) -> tuple[int, float]:
        if number == len(planned) - 1:
            last_is_sent.set()
        await last_is_sent.wait()
        return number, late_s

    sent = await asyncio.wait_for(load.run(send), timeout=30)
    assert [number for number, _ in sent] == list(range(len(planned)))
    assert len(planned) > 5
    assert all(late_s >= 0 for _, late_s in sent)


@pytest.mark.parametrize("load", [ClosedLoop(2, 50), OpenLoop(1000, 0.05, 0)])
async def test_a_bug_in_sending_ends_the_run(load: ClosedLoop | OpenLoop) -> None:
    async def send(number: int, late_s: float) -> None:
        if number:
            raise RuntimeError("bug")
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="bug"):
        await asyncio.wait_for(load.run(send), timeout=30)


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0)])
def test_a_closed_loop_needs_users_and_requests(numbers: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ClosedLoop(*numbers)


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0), (float("nan"), 1), (1, float("inf"))])
def test_an_open_loop_needs_a_finite_rate_and_duration(numbers: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        OpenLoop(*numbers, seed=0)
