"""Streams that share a model which makes a fixed amount of audio per second in all, in virtual time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.virtual_time import in_virtual_time
from deployments.core.errors import Overloaded
from deployments.streaming.admission import SharedStream, StreamAdmission
from deployments.streaming.crowd_cost import CrowdCost
from deployments.streaming.playback import Playback

CHUNK_S = 0.5
LONGEST_WAIT_S = 20.0


@dataclass
class Model:
    """`alone_s`: for a second of audio of a stream that is alone; each further stream adds `more` of that."""

    alone_s: float
    more: float
    at_work: int = 0

    async def chunk(self) -> None:
        left = CHUNK_S * self.alone_s
        while left > 0:  # in small steps, because others come and go
            step_s = min(left, 0.01)
            await asyncio.sleep(step_s * (1 + self.more * (self.at_work - 1)))
            left -= step_s


@dataclass
class Listener:
    first_s: float | None = None
    longest_gap_s: float = 0.0
    refused: Overloaded | None = None


@dataclass
class Scene:
    model: Model
    admission: StreamAdmission
    listeners: list[Listener] = field(default_factory=list)

    async def listen(self, audio_s: float, after_s: float = 0.0) -> None:
        await asyncio.sleep(after_s)
        came_s, dry_s = time.monotonic(), 0.0
        self.listeners.append(listener := Listener())
        stream = SharedStream(Playback(), audio_s)
        try:
            async with self.admission.turn(stream):
                self.model.at_work += 1
                try:
                    for number in range(round(audio_s / CHUNK_S)):
                        await self.model.chunk()
                        now_s = time.monotonic()
                        stream.playback.sent(0, CHUNK_S)
                        if number == 0:
                            self.admission.first_audio(stream, CHUNK_S)
                            listener.first_s, dry_s = now_s - came_s, now_s
                        listener.longest_gap_s = max(listener.longest_gap_s, now_s - dry_s)
                        dry_s = max(dry_s, now_s) + CHUNK_S
                finally:
                    self.model.at_work -= 1
        except Overloaded as error:
            listener.refused = error


def scene(*lengths_s: float, alone_s: float, more: float, longest_wait_s: float = 1e6) -> list[Listener]:
    """Listeners who come at once."""
    return arriving([(length_s, 0.0) for length_s in lengths_s], alone_s, more, longest_wait_s)


def arriving(
    arrivals: Sequence[tuple[float, float]],
    alone_s: float,
    more: float,
    longest_wait_s: float = LONGEST_WAIT_S,
) -> list[Listener]:
    """Listeners with (length of the audio, when they come), at a model that has been measured alone and with two."""

    async def run() -> list[Listener]:
        admission = StreamAdmission("m", CrowdCost(0.3), longest_wait_s=longest_wait_s)
        played = Scene(Model(alone_s, more), admission)
        for users in (1, 1, 1, 2, 2, 2):
            await asyncio.gather(*(played.listen(5.0) for _ in range(users)))
        played.listeners.clear()
        await asyncio.gather(*(played.listen(length_s, after_s) for length_s, after_s in arrivals))
        return played.listeners

    return in_virtual_time(run)


def test_where_company_costs_little_all_begin_at_once() -> None:
    heard = scene(*[6.0] * 12, alone_s=0.2, more=0.05)
    assert max(each.first_s or 0.0 for each in heard) < 1.0
    assert max(each.longest_gap_s for each in heard) == 0.0


def test_where_work_is_shared_they_wait_and_nobody_hears_a_gap() -> None:
    heard = scene(*[6.0] * 8, alone_s=0.4, more=1.0)
    assert [each for each in heard if each.longest_gap_s > 0.05] == []
    firsts = [each.first_s or 0.0 for each in heard]
    assert firsts == sorted(firsts)  # first come, first served
    # Work is conserved: eight times 6 s take 19 s in all.
    assert firsts[-1] < 8 * 6.0 * 0.4


def test_short_texts_share_a_model_that_has_room_for_several() -> None:
    """Each makes the others slower by a third: three or more at a time are faster than one after the other."""
    heard = scene(*[2.0] * 24, alone_s=0.3, more=0.33)
    assert max(each.longest_gap_s for each in heard) < 0.05
    # One after the other the last would begin after 13.8 s, all at once none before 0.3 * 0.5 * 8.6 s.
    assert max(each.first_s or 0.0 for each in heard) < 9.0


def test_who_would_wait_too_long_is_refused_at_once_and_told_when_to_come_back() -> None:
    heard = scene(*[6.0] * 20, alone_s=0.5, more=1.0, longest_wait_s=10.0)
    refused = [each.refused for each in heard if each.refused is not None]
    assert 5 < len(refused) < 17
    assert all(error.retry_after_s >= 1 for error in refused)
    assert max(each.first_s or 0.0 for each in heard) < 2 * 10.0
    assert max(each.longest_gap_s for each in heard) < 0.05


def test_what_a_newcomer_may_expect_follows_the_load() -> None:
    async def run() -> tuple[float, float]:
        admission = StreamAdmission("m", CrowdCost(0.5), longest_wait_s=5.0)
        played = Scene(Model(0.5, 1.0), admission)
        await played.listen(5.0)
        at_rest = admission.forecast()
        assert not at_rest.full
        assert at_rest.audio_s_per_s == pytest.approx(2.0, rel=0.2)
        admission._longest_wait_s = 1e6
        waiting = [asyncio.create_task(played.listen(6.0)) for _ in range(6)]
        await asyncio.sleep(0.1)
        under_load = admission.forecast()
        assert not under_load.full
        admission._longest_wait_s = 5.0
        assert admission.forecast().full  # so it would be refused, as the next one finds out
        await played.listen(5.0)
        assert played.listeners[-1].refused
        await asyncio.gather(*waiting)
        return at_rest.first_audio_s, under_load.first_audio_s

    at_rest_s, under_load_s = in_virtual_time(run)
    assert at_rest_s < 1.0
    assert 6.0 < under_load_s < 30.0


def test_what_is_begun_to_be_measured_opens_the_door_for_nobody_else() -> None:
    async def run() -> tuple[int, bool]:
        admission = StreamAdmission("m", CrowdCost(0.4), longest_wait_s=1e6)
        async with AsyncExitStack() as stack:
            for _ in range(3):
                measured = SharedStream(Playback(), 5.0)
                await stack.enter_async_context(admission.turn(measured, at_once=True))
            begun = len(admission._begun)
            listener = SharedStream(Playback(), 5.0)
            waiting = asyncio.create_task(stack.enter_async_context(admission.turn(listener)))
            await asyncio.sleep(0.5)
            waiting.cancel()
            return begun, listener.turn.done() and not listener.turn.cancelled()

    assert in_virtual_time(run) == (3, False)


def test_as_many_begin_as_the_engine_has_rows_for() -> None:
    async def run() -> tuple[int, int, int]:
        admission = StreamAdmission("m", CrowdCost(0.001, 0.0), longest_wait_s=1e6, rows=lambda: 4)
        async with AsyncExitStack() as stack:
            begun = []
            for rows in (2, 2, 1):
                listener = SharedStream(Playback(), 5.0, rows)
                begun.append(asyncio.create_task(stack.enter_async_context(admission.turn(listener))))
            await asyncio.sleep(0.5)
            full = len(admission._begun), len(admission._waiting)
            begun[-1].cancel()
        async with admission.turn(SharedStream(Playback(), 5.0, rows=9)):  # more than there are, but alone
            return *full, len(admission._begun)

    assert in_virtual_time(run) == (2, 1, 1)


def test_one_who_leaves_while_waiting_leaves_no_trace() -> None:
    async def run() -> tuple[float | None, int]:
        admission = StreamAdmission("m", CrowdCost(0.4), longest_wait_s=1e6)
        played = Scene(Model(0.4, 1.0), admission)
        first = asyncio.create_task(played.listen(6.0))
        second = asyncio.create_task(played.listen(6.0, after_s=0.1))
        third = asyncio.create_task(played.listen(1.0, after_s=0.2))
        await asyncio.sleep(0.3)
        second.cancel()
        await asyncio.gather(first, second, third, return_exceptions=True)
        return played.listeners[2].first_s, len(admission._begun) + len(admission._waiting)

    first_s, left = in_virtual_time(run)
    assert first_s is not None
    assert left == 0


ARRIVALS = st.lists(st.tuples(st.floats(0.5, 15.0), st.floats(0.0, 20.0)), min_size=1, max_size=12)


@given(arrivals=ARRIVALS, alone_s=st.floats(0.05, 0.6), more=st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_whoever_comes_is_heard_to_the_end_or_refused_at_once(
    arrivals: list[tuple[float, float]], alone_s: float, more: float
) -> None:
    """At any speed and any arrivals: no wait beyond the bound by much, and no gap of more than part of a chunk, however
    long the others' texts are."""
    heard = arriving(arrivals, alone_s, more)
    assert len(heard) == len(arrivals)
    served = [each for each in heard if each.refused is None]
    assert all(each.first_s is not None for each in served)
    assert max((each.first_s or 0.0 for each in served), default=0.0) < 1.25 * LONGEST_WAIT_S
    assert max((each.longest_gap_s for each in served), default=0.0) < 0.6 * CHUNK_S
