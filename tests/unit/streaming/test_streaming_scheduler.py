from __future__ import annotations

import asyncio
import time

import pytest

from benchmarks.virtual_time import in_virtual_time
from deployments.streaming.cost import Pace, PieceCost
from deployments.streaming.playback import Playback
from deployments.streaming.scheduler import FLOOR_UNITS, MOST_S, ScheduledStream, Scheduler

WORK = PieceCost(0.2, 0.5)
AUDIO = PieceCost(0.0, 1.0)
ALONE = Pace(WORK, AUDIO)
PAIRS = Pace(WORK, AUDIO, PieceCost(0.3, 0.75))


class Speaker:
    """Asks for a turn for each of `pieces`, which last `piece_s`, and notes who had it when."""

    def __init__(self, name: str, scheduler: Scheduler, log: list[str], pace: Pace = ALONE) -> None:
        self.name = name
        self.left: list[float] = []
        self.began_s: list[float] = []
        self.alone: list[bool] = []
        self.playback = Playback()
        self._scheduler, self._log, self._pace = scheduler, log, pace
        self.stream = ScheduledStream(self.playback, lambda: sum(self.left), (0.0, 0.0))

    async def speak(self, *pieces_s: float, after_s: float = 0.0) -> None:
        await asyncio.sleep(after_s)
        self.left = list(pieces_s)
        self.stream.expected = self._pace.work.seconds(self.left[0]), self.left[0]
        with self._scheduler.joined(self.stream):
            while self.left:
                turn = await self._scheduler.ask(self.stream)
                piece_s = self.left.pop(0)
                work_s = self._pace.of_turn(alone=turn.alone).work.seconds(piece_s)
                self._scheduler.working(self.stream, work_s, piece_s)
                self._log.append(self.name)
                self.began_s.append(time.monotonic())
                self.alone.append(turn.alone)
                await asyncio.sleep(work_s)
                self.playback.sent(len(self.began_s), piece_s)


def scheduler(pace: Pace = ALONE, places: int = 1) -> Scheduler:
    return Scheduler(lambda: pace, lambda: places)


def test_a_lone_stream_has_every_turn_at_once() -> None:
    async def run() -> list[float]:
        speaker = Speaker("a", scheduler(), [])
        await speaker.speak(1.0, 2.0, 3.0)
        return speaker.began_s

    assert in_virtual_time(run) == pytest.approx([0, 0.7, 1.9])


def test_newcomers_begin_in_the_order_of_their_arrival() -> None:
    async def run() -> list[str]:
        log: list[str] = []
        turns = scheduler()
        await asyncio.gather(
            *(Speaker(name, turns, log).speak(2.0, after_s=index / 100) for index, name in enumerate("dacb"))
        )
        return log

    assert in_virtual_time(run) == list("dacb")


def test_a_newcomer_waits_until_the_other_stream_is_far_ahead() -> None:
    async def run() -> tuple[list[str], float]:
        log: list[str] = []
        turns = scheduler()
        first, second = Speaker("a", turns, log), Speaker("b", turns, log)
        await asyncio.gather(first.speak(*[2.0] * 12), second.speak(3.0, 3.0, after_s=0.1))
        dry_s = [first.began_s[0] + WORK.seconds(2.0) + 2.0 * count for count in range(12)]
        assert all(
            began + WORK.seconds(2.0) <= dry + 1e-6
            for began, dry in zip(first.began_s[1:], dry_s[1:], strict=True)
        )
        return log, second.began_s[0]

    log, began_s = in_virtual_time(run)
    assert log[:2] == ["a", "a"]
    assert log.index("b") < 12
    assert began_s > 0


def test_who_is_needed_first_is_next() -> None:
    async def run() -> list[str]:
        log: list[str] = []
        turns = scheduler()
        speakers = [Speaker(name, turns, log) for name in "abc"]
        for speaker, heard_s in zip(speakers, (9.0, 5.0, 7.0), strict=True):
            speaker.playback.sent(0, heard_s)
        blocker = Speaker("x", turns, log)
        blocker.playback.sent(0, 30.0)
        await asyncio.gather(blocker.speak(1.0), *(speaker.speak(1.0, after_s=0.1) for speaker in speakers))
        return log

    assert in_virtual_time(run) == ["x", "b", "c", "a"]


def test_the_turn_of_one_that_leaves_goes_to_the_next() -> None:
    async def run() -> list[float]:
        log: list[str] = []
        turns = scheduler()
        working, waiting, last = (Speaker(name, turns, log) for name in "abc")
        tasks = [
            asyncio.ensure_future(speaker.speak(10.0, after_s=index / 10))
            for index, speaker in enumerate((working, waiting, last))
        ]
        await asyncio.sleep(1.0)
        tasks[1].cancel()
        await asyncio.sleep(1.0)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        assert waiting.began_s == []
        return last.began_s

    assert in_virtual_time(run) == pytest.approx([2.0])


def test_two_places_make_two_pieces_at_once() -> None:
    async def run() -> list[float]:
        turns = scheduler(places=2)
        speakers = [Speaker(name, turns, []) for name in "abc"]
        await asyncio.gather(*(speaker.speak(2.0) for speaker in speakers))
        return [speaker.began_s[0] for speaker in speakers]

    assert in_virtual_time(run) == pytest.approx([0, 0, WORK.seconds(2.0)])


@pytest.mark.parametrize(("heard_s", "together"), [(9.0, True), (1.0, False)], ids=["ahead", "nearly dry"])
def test_two_are_spoken_side_by_side_where_there_is_time_for_that(heard_s: float, together: bool) -> None:
    async def run() -> list[list[bool]]:
        turns = scheduler(PAIRS)
        blocker = Speaker("x", turns, [], PAIRS)
        speakers = [Speaker(name, turns, [], PAIRS) for name in "ab"]
        for speaker in (*speakers, blocker):
            speaker.playback.sent(0, heard_s)
        await asyncio.gather(blocker.speak(0.2), *(each.speak(1.0, after_s=0.01) for each in speakers))
        return [speaker.alone for speaker in speakers]

    first, second = in_virtual_time(run)
    assert first == [not together]
    assert second == [not together]


def test_a_first_sound_uses_all_threads() -> None:
    async def run() -> list[bool]:
        turns = scheduler(PAIRS)
        speakers = [Speaker(name, turns, [], PAIRS) for name in "ab"]
        await asyncio.gather(*(speaker.speak(1.0) for speaker in speakers))
        return [alone for speaker in speakers for alone in speaker.alone]

    assert in_virtual_time(run) == [True, True]


def test_a_piece_may_take_until_its_listener_or_another_one_needs_something() -> None:
    async def run() -> None:
        turns = scheduler()
        mine, other = Speaker("a", turns, []), Speaker("b", turns, [])
        mine.playback.sent(0, 8.0)
        with turns.joined(mine.stream):
            assert turns.available_s(mine.stream) == pytest.approx(8.0)
            with turns.joined(other.stream):
                assert turns.available_s(mine.stream) == pytest.approx(8.0)  # who is new can wait
                other.playback.sent(0, 5.0)
                least_s = turns.available_s(mine.stream)
                assert 5.0 - WORK.seconds(2.0) < least_s < 5.0
                turns.working(other.stream, 1.0, 3.0)
                assert turns.available_s(mine.stream) == pytest.approx(8.0)
            mine.playback.sent(1, 2 * MOST_S)
            assert turns.available_s(mine.stream) == MOST_S

    in_virtual_time(run)


def test_who_is_late_already_makes_no_piece_of_others_shorter_than_the_floor() -> None:
    async def run() -> float:
        turns = scheduler()
        mine, late = Speaker("a", turns, []), Speaker("b", turns, [])
        mine.playback.sent(0, 60.0)
        late.playback.sent(0, 1.0)
        await asyncio.sleep(30)
        with turns.joined(mine.stream), turns.joined(late.stream):
            return turns.available_s(mine.stream)

    assert in_virtual_time(run) == pytest.approx(WORK.seconds(FLOOR_UNITS))


def test_the_wait_that_is_expected_is_about_the_wait_there_is() -> None:
    async def run() -> tuple[float, float]:
        turns = scheduler()
        speakers = [Speaker(name, turns, []) for name in "abcd"]
        tasks = [asyncio.ensure_future(speaker.speak(*[3.0] * 5)) for speaker in speakers]
        await asyncio.sleep(2.0)
        newcomer = Speaker("e", turns, [])
        newcomer.left = [3.0]
        expected_s = turns.wait_s(newcomer.stream)
        await newcomer.speak(3.0)
        await asyncio.wait(tasks)
        return expected_s, newcomer.began_s[0] - 2.0

    expected_s, found_s = in_virtual_time(run)
    assert found_s > 10
    assert expected_s == pytest.approx(found_s, rel=0.3)


def test_what_a_newcomer_may_expect_and_whether_it_would_be_refused() -> None:
    async def run() -> None:
        log: list[str] = []
        shared = scheduler()
        at_rest = shared.forecast(longest_wait_s=1.0)
        assert at_rest.first_audio_s == pytest.approx(WORK.seconds(3.0))
        assert not at_rest.full
        others = [asyncio.create_task(Speaker(name, shared, log).speak(*[4.0] * 6)) for name in "abc"]
        await asyncio.sleep(0.5)
        busy = shared.forecast(longest_wait_s=1.0)
        assert busy.full
        assert busy.first_audio_s > 1.0
        assert not shared.forecast(longest_wait_s=1e6).full
        await asyncio.gather(*others)

    in_virtual_time(run)
