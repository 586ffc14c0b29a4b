"""When another stream may begin at a model that works on many at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from deployments.core.pipeline import Forecast
from deployments.streaming.crowd_cost import WEIGHT, CrowdCost, mixed
from deployments.streaming.playback import Playback
from deployments.streaming.turns import GRAIN_S, Begun, Newcomer, may_begin, refuse_long_wait

LOOK_AGAIN_S = 0.1  # while somebody waits: streams get ahead of their listeners
LEAST_S = 1.0  # of audio behind the first, to learn from
FIRST_WORK_S = 0.5  # of the first audio, before any was measured
AHEAD = 1.5  # times faster than they are heard all must be made where nobody looks at what each has left
LITTLE = 1.1  # times longer that everything may take for a newcomer who costs nobody much
GRAIN_CHUNKS = 1.5  # first chunks that later chunks are as long as
LATER = 3.0  # times longer that a second of audio may take for who has not sounded, because others begin beside it
IN_PROGRESS = 0.3  # part of what could have been made since the last chunk that is counted as made
USUAL_S = 5.0  # of audio, before the first stream has ended


@dataclass(eq=False, slots=True)
class SharedStream:
    """A stream beside others. `expected_s`: how much audio the whole of it will be; `rows`: of the model's engine, that
    it takes before its first audio."""

    playback: Playback
    expected_s: float
    rows: int = 1
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    began_s: float = 0.0
    crowd_before_s: float = 0.0
    first_s: float = 0.0  # from the beginning to the first audio, which lasts `first_audio_s`
    first_audio_s: float = 0.0

    @property
    def rest_s(self) -> float:
        return max(0.0, self.expected_s - self.playback.audio_s)


class FullPace:
    """What is made as long as somebody waits, and so as much is made as can be.

    `work_per_audio`: seconds for a second of audio of all streams together; 0 as long as nobody had to wait.
    """

    def __init__(self) -> None:
        self.work_per_audio = 0.0
        self._audio_s = self._took_s = 0.0
        self._last_end_s: float | None = None  # of a stream while others waited

    def ended(self, audio_s: float, *, others_wait: bool) -> None:
        """A stream of `audio_s` has come to its end."""
        now_s = time.monotonic()
        if self._last_end_s is not None:
            self._audio_s = mixed(self._audio_s, audio_s, WEIGHT)
            self._took_s = mixed(self._took_s, now_s - self._last_end_s, WEIGHT)
            self.work_per_audio = self._took_s / max(LEAST_S, self._audio_s)
        self._last_end_s = now_s if others_wait else None


class StreamAdmission:
    """Streams of one model, first come, first served; used from one event loop.

    One begins when all that have begun, and it, are expected to play through: that is decided by `turns.may_begin` from
    what a second of audio takes with so many at work, which is learnt from every stream, beginning with `work`.
    """

    def __init__(
        self,
        model: str,
        work: CrowdCost,
        *,
        longest_wait_s: float,
        rows: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`rows` there are in the model's engine; None where that does not matter."""
        self._work = work
        self._model = model
        self._longest_wait_s = longest_wait_s
        self._rows = rows
        self._waiting: list[SharedStream] = []
        self._begun: list[SharedStream] = []
        self._first_audio_s = 0.8  # of audio, in the first chunk
        self._first = CrowdCost(FIRST_WORK_S)  # to the first audio, whatever its length
        self._usual_s = USUAL_S
        self._full = FullPace()
        self._crowd_s = 0.0  # sum of streams at work over time
        self._crowd_at_s = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def audio_s_per_s(self) -> float:
        """What is made with as many at work as are now, or with one."""
        return 1 / self._work_per_audio(len(self._begun))

    def forecast(self) -> Forecast:
        """For a stream of usual length that would come now."""
        usual = SharedStream(Playback(), self._usual_s)
        wait_s = self._wait_s(usual)
        after_s = wait_s + self._first.at(len(self._begun) + len(self._waiting) + 1)
        return Forecast(after_s, self.audio_s_per_s, full=wait_s > self._longest_wait_s)

    @asynccontextmanager
    async def turn(self, stream: SharedStream, *, at_once: bool = False) -> AsyncGenerator[None, None]:
        """Wait for the turn of `stream`, and be at work until the end. `at_once`: whatever it costs others, to measure
        that. Raises Overloaded at once if the wait would be longer than `longest_wait_s`."""
        if not at_once:
            refuse_long_wait(self._model, self._wait_s(stream), self._longest_wait_s)
        self._waiting.append(stream)
        try:
            if at_once:
                self._begin(stream)
            else:
                self._let_in()
            await stream.turn
            yield
            self._learn_from(stream)
        finally:
            self._count_crowd(time.monotonic())
            (self._begun if stream in self._begun else self._waiting).remove(stream)
            self._let_in()

    def first_audio(self, stream: SharedStream, audio_s: float) -> None:
        """The first chunk of `stream` is there."""
        stream.first_audio_s, stream.first_s = audio_s, time.monotonic() - stream.began_s
        self._first_audio_s = mixed(self._first_audio_s, audio_s, WEIGHT)
        self._first.observe(stream.first_s, self._mean_crowd(stream, stream.first_s))

    def _wait_s(self, stream: SharedStream) -> float:
        """Until one that comes now begins: the next place is free when one of those at work ends, at the latest, and
        those who wait take one after the other. A few additions, because it is asked for every request."""
        if not self._waiting and self._may_begin(stream, time.monotonic()):
            return 0.0
        streams = len(self._begun)
        next_end_s = self._work.at(streams) * min((each.rest_s for each in self._begun), default=0.0)
        before_it_s = sum(each.expected_s for each in self._waiting)
        return next_end_s + max(self._work_per_audio(streams), self._full.work_per_audio) * before_it_s

    def _let_in(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            stream, now_s = self._waiting[0], time.monotonic()
            if not self._may_begin(stream, now_s):
                self._timer = asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._let_in)
                return
            self._begin(stream)

    def _begin(self, stream: SharedStream) -> None:
        now_s = time.monotonic()
        self._waiting.remove(stream)
        self._count_crowd(now_s)
        stream.began_s, stream.crowd_before_s = now_s, self._crowd_s
        self._begun.append(stream)
        if not stream.turn.done():
            stream.turn.set_result(None)

    @property
    def _grain_s(self) -> float:
        return min(GRAIN_S, GRAIN_CHUNKS * self._first_audio_s)

    def _may_begin(self, stream: SharedStream, now_s: float) -> bool:
        if not self._has_rows(stream):
            return False
        streams = len(self._begun) + 1
        with_it_s = self._work.at(streams)
        if with_it_s < LITTLE * self._work.at(streams - 1) and with_it_s * AHEAD < 1:
            return True  # all of them go on faster than they are heard, as if it had not come
        if with_it_s > LATER * self._work.at(1) and any(not each.first_s for each in self._begun):
            return False  # those before it would all be heard late
        begun = [self._as_begun(each, now_s) for each in self._begun]
        work_per_audio = self._work_per_audio(streams)
        return may_begin(now_s, self._newcomer(stream), begun, work_per_audio, self._grain_s)

    def _has_rows(self, stream: SharedStream) -> bool:
        """A stream that takes more than all runs alone; the engine refuses it if it must."""
        rows = self._rows()
        return rows is None or not self._begun or sum(each.rows for each in self._begun) + stream.rows <= rows

    def _learn_from(self, stream: SharedStream) -> None:
        """It has been made to its end. The beginning is left out: stages were still empty, and it counts by itself."""
        took_s = time.monotonic() - stream.began_s
        self._usual_s = mixed(self._usual_s, stream.playback.audio_s, WEIGHT)
        self._full.ended(stream.playback.audio_s, others_wait=bool(self._waiting))
        later_s = stream.playback.audio_s - stream.first_audio_s
        if later_s >= LEAST_S:
            unit_s = (took_s - stream.first_s) / later_s
            self._work.observe(unit_s, self._mean_crowd(stream, took_s), min(1.0, later_s / USUAL_S))

    def _mean_crowd(self, stream: SharedStream, took_s: float) -> float:
        """How many were at work, on average, since `stream` began."""
        self._count_crowd(time.monotonic())
        return max(1.0, (self._crowd_s - stream.crowd_before_s) / max(1e-6, took_s))

    def _count_crowd(self, now_s: float) -> None:
        self._crowd_s += len(self._begun) * (now_s - self._crowd_at_s)
        self._crowd_at_s = now_s

    def _work_per_audio(self, streams: int) -> float:
        """Seconds that all of it together takes for a second of audio, with so many streams at work here."""
        return self._work.at(streams) / max(1, streams)

    def _newcomer(self, stream: SharedStream) -> Newcomer:
        audio_s, rest_s = self._expected_chunks(stream)
        streams = len(self._begun) + 1
        first_s = self._first.at(streams)
        work_s = first_s / streams
        return Newcomer(work_s, audio_s, rest_s, first_s - work_s)

    def _expected_chunks(self, stream: SharedStream) -> tuple[float, float]:
        """Audio of the first chunk and of all others of a stream of which nothing is made yet."""
        audio_s = min(self._first_audio_s, stream.expected_s)
        return audio_s, max(0.0, stream.expected_s - audio_s)

    def _as_begun(self, stream: SharedStream, now_s: float) -> Begun:
        if stream.first_s > 0:
            # Of the next chunk a part is made already, though nothing was sent.
            worked_s = now_s - stream.playback.last_sent_s
            made_s = min(
                stream.rest_s, self._grain_s, IN_PROGRESS * worked_s / self._work.at(len(self._begun))
            )
            return Begun(now_s + max(0.0, stream.playback.slack_s(0)) + made_s, stream.rest_s - made_s)
        # Nobody listens yet: another beside it makes its first sound later, and no gap.
        streams = len(self._begun) + 1
        left_s = max(0.0, self._first.at(streams) - (now_s - stream.began_s))
        audio_s, rest_s = self._expected_chunks(stream)
        return Begun(now_s + left_s + audio_s, rest_s, left_s / streams)
