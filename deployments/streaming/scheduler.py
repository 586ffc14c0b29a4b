"""Hands out turns at a stage that makes one piece of a stream at a time, or two side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deployments.core.pipeline import Forecast
from deployments.streaming.cost import USUAL_PIECE_S, Pace
from deployments.streaming.playback import Playback
from deployments.streaming.turns import Begun, Newcomer, next_turn, wait_s

LEAST_UNITS = 1.5  # of a piece that somebody else may need soon
FLOOR_UNITS = 2.5  # short pieces cost too much: others make none shorter than this
MOST_S = 600.0
PAIR_UNITS, PAIR_MARGIN = 2.0, 1.2  # of a piece that is made beside another one


@dataclass(eq=False, slots=True)
class ScheduledStream:
    """A stream as the scheduler sees it. `expected`: work and length of its first piece; `rest_s`: what is left."""

    playback: Playback
    rest_s: Callable[[], float]
    expected: tuple[float, float]
    turn: asyncio.Future[Turn] | None = None  # waits for one
    working_until_s: float | None = None  # a piece of it is being made
    coming_s: float = 0.0  # length of that piece
    alone: bool = True  # that piece may use all threads
    arrived: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """`alone`: all threads of the stage are for this piece; else another one is made beside it."""

    alone: bool


class Scheduler:
    """Of one model, used from one event loop. What `pace` and `places` (replicas) give may change at any time."""

    def __init__(self, pace: Callable[[], Pace], places: Callable[[], int]) -> None:
        self._pace = pace
        self._places = places
        self._streams: list[ScheduledStream] = []
        self._arrivals = 0

    @contextmanager
    def joined(self, stream: ScheduledStream) -> Iterator[None]:
        """Around all turns of one stream."""
        self._arrivals += 1
        stream.arrived = self._arrivals
        self._streams.append(stream)
        try:
            yield
        finally:
            self._streams.remove(stream)
            stream.turn = None
            self._hand_out()

    def available_s(self, stream: ScheduledStream) -> float:
        """How long the next piece of `stream`, whose turn it is, may take: then it, or another stream's, is needed."""
        now_s = time.monotonic()
        least_s = self._pace().work.seconds(LEAST_UNITS)
        others = (
            self._begun(each, now_s).dry_s - now_s - least_s
            for each in self._streams
            if each is not stream and each.working_until_s is None and not self._is_new(each)
        )
        # Others that are late already were no reason to be late as well.
        floor_s = self._pace().work.seconds(FLOOR_UNITS)
        return min(stream.playback.slack_s(0), *(max(other, floor_s) for other in others), MOST_S)

    def ask(self, stream: ScheduledStream) -> asyncio.Future[Turn]:
        """The turn in which the next piece of `stream` is to be made. The one before has ended."""
        stream.working_until_s = None
        stream.turn = turn = asyncio.get_running_loop().create_future()
        self._hand_out()
        return turn

    def working(self, stream: ScheduledStream, work_s: float, audio_s: float) -> None:
        """What is known of the piece that is made in this turn."""
        stream.working_until_s = time.monotonic() + work_s
        stream.coming_s = audio_s

    def wait_s(self, stream: ScheduledStream) -> float:
        """How long one that has not joined yet would wait for its first turn."""
        now_s = time.monotonic()
        new = [self._newcomer(each) for each in self._by_arrival() if self._is_new(each)]
        begun = [self._begun(each, now_s) for each in self._streams if not self._is_new(each)]
        return wait_s(now_s, [*new, self._newcomer(stream)], begun, self._work_per_audio)

    def forecast(self, longest_wait_s: float) -> Forecast:
        """For a text of usual length that would come now, and is refused where it would wait longer."""
        work, audio = self._pace().work, self._pace().audio
        expected = work.seconds(USUAL_PIECE_S), audio.seconds(USUAL_PIECE_S)
        usual = ScheduledStream(Playback(), lambda: 2 * expected[1], expected)
        wait_s = self.wait_s(usual)
        return Forecast(wait_s + expected[0], 1 / self._work_per_audio, full=wait_s > longest_wait_s)

    @property
    def _work_per_audio(self) -> float:
        return self._pace().work_per_audio / max(1, self._places())

    def _hand_out(self) -> None:
        while (free := self._free_threads()) > 0:
            waiting = [each for each in self._by_arrival() if each.turn is not None and not each.turn.done()]
            if not waiting:
                return
            now_s = time.monotonic()
            working = [
                self._begun(each, now_s)
                for each in self._streams
                if each not in waiting and not self._is_new(each)
            ]
            seen = [
                self._newcomer(each) if self._is_new(each) else self._begun(each, now_s) for each in waiting
            ]
            index = next_turn(now_s, seen, working, self._work_per_audio)
            if index is None:
                return
            # Two side by side gain, but each takes longer: not where that makes a gap, nor a first sound late.
            pace, chosen = self._pace(), waiting[index]
            others = len(waiting) > 1
            alone = free == 2 and not (others and self._has_time(chosen))
            if free == 1 and pace.pairs is None:
                return
            turn, chosen.turn = chosen.turn, None
            assert turn is not None
            chosen.working_until_s = now_s  # until `working` says more
            chosen.alone = alone
            turn.set_result(Turn(alone))

    def _free_threads(self) -> int:
        """Halves of places that nothing runs on."""
        used = sum(2 if each.alone else 1 for each in self._streams if each.working_until_s is not None)
        return min(2, 2 * self._places() - used)

    def _has_time(self, stream: ScheduledStream) -> bool:
        """Whether its next piece may take longer because another one is made beside it."""
        pairs = self._pace().pairs
        if pairs is None or self._is_new(stream):
            return False
        return stream.playback.slack_s(0) > PAIR_MARGIN * pairs.seconds(PAIR_UNITS)

    def _by_arrival(self) -> list[ScheduledStream]:
        return sorted(self._streams, key=lambda stream: stream.arrived)

    @staticmethod
    def _is_new(stream: ScheduledStream) -> bool:
        """Nothing of it is heard, made or being made."""
        return stream.playback.audio_s == 0 and stream.working_until_s is None

    def _begun(self, stream: ScheduledStream, now_s: float) -> Begun:
        under_way_s = max(0.0, (stream.working_until_s or now_s) - now_s)
        dry_s = now_s + max(stream.playback.slack_s(0), under_way_s)
        if stream.working_until_s is not None:
            dry_s += stream.coming_s
        return Begun(dry_s, stream.rest_s(), under_way_s)

    def _newcomer(self, stream: ScheduledStream) -> Newcomer:
        work_s, audio_s = stream.expected
        return Newcomer(work_s, audio_s, max(0.0, stream.rest_s() - audio_s))
