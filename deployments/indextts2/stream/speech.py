"""All segments of a request: several at work at once, their audio in order, pauses in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor

from deployments.core.errors import InvalidRequest, Unavailable
from deployments.core.speech import AudioChunk, Samples, StreamEnd
from deployments.engine.batch import AT_EASE_S
from deployments.indextts2.stream.segment import MUTE_PAUSE_S, SegmentStream
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.indextts2.text.segment import TextSegment
from deployments.streaming.joins import silence
from deployments.streaming.playback import Playback

TEXT_AHEAD = 2  # segments of text prepared before they can start


class SpeechStream:
    """One request. `texts` is read in `executor`, a segment at a time, as long as segments are wanted; `start` makes
    the work of the n-th segment. `events` may be called once."""

    def __init__(
        self,
        texts: Iterator[TextSegment],
        executor: Executor,
        start: Callable[[int, TextSegment], SegmentStream],
        playback: Playback,
        sample_rate_hz: int,
        speeds: StageSpeeds,
        *,
        at_once: int,
        pause_s: float,
        heard: bool,
    ) -> None:
        self._texts = texts
        self._executor = executor
        self._start = start
        self._playback = playback
        self._sample_rate_hz = sample_rate_hz
        self._speeds = speeds
        self._at_once = at_once
        self._pause_s = pause_s
        self._heard = heard
        self._prepared: deque[TextSegment] = deque()
        self._preparing: asyncio.Future[TextSegment | None] | None = None
        self._text_error: BaseException | None = None
        self._all_prepared = False
        self._started: list[tuple[TextSegment, SegmentStream]] = []
        self._sent = 0  # segments whose audio has all been sent
        self._speaks = False  # a segment that is not mute has been sent
        self._changed = asyncio.Event()
        self._closed = False
        self._stage_s: dict[str, float] = {}
        self._before_s: Mapping[str, float] = {}
        self._warnings: dict[str, None] = {}

    async def events(
        self, stage_s: Mapping[str, float], warnings: Sequence[str]
    ) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        """Audio in order, then the end, with `stage_s` and `warnings` from before. When it is closed, nothing of the
        request is running any more."""
        self._before_s = stage_s
        try:
            self._advance()
            pause_s = 0.0
            while (segment := await self._next()) is not None:
                text, stream = segment
                if self._speaks and pause_s > 0:
                    yield self._counted(silence(pause_s, self._sample_rate_hz), stream.index - 1)
                lead_s = text.lead_s
                async for samples in stream.samples():
                    if lead_s > 0:  # not earlier: what comes first tells that the model speaks
                        yield self._counted(silence(lead_s, self._sample_rate_hz), stream.index)
                        lead_s = 0.0
                    yield self._counted(samples, stream.index)
                if stream.mute and self._speaks:
                    yield self._counted(silence(MUTE_PAUSE_S, self._sample_rate_hz), stream.index)
                self._finish(text, stream)
                pause_s = self._pause_after_s(text)
            if not self._speaks:
                raise _mute()
            if self._started[-1][0].pause_after_s is not None and pause_s > 0:
                yield self._counted(silence(pause_s, self._sample_rate_hz), len(self._started) - 1)
        finally:
            self._closed = True
            # All are told to stop before any is waited for: the waiting may be cut short.
            for _, stream in self._started:
                stream.cancel()
            await asyncio.gather(*(stream.aclose() for _, stream in self._started))
        yield StreamEnd(self._playback.audio_s, {**stage_s, **self._stage_s}, (*warnings, *self._warnings))

    async def _next(self) -> tuple[TextSegment, SegmentStream] | None:
        """The segment to be sent next, once it has started; None after the last. Raises what the text raised."""
        while self._sent == len(self._started):
            if self._text_error is not None:
                raise self._text_error
            if self._all_prepared and not self._prepared:
                if not self._started:
                    raise _nothing_to_speak()
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._started[self._sent]

    def _advance(self) -> None:
        """Start the segments that may start, and have the next text prepared."""
        if self._closed:
            return
        while self._prepared and len(self._started) - self._sent < self._at_once and self._next_may_begin():
            self._begin(self._prepared.popleft())
        wanted = len(self._prepared) < TEXT_AHEAD and not self._all_prepared and self._text_error is None
        if wanted and self._preparing is None:
            loop = asyncio.get_running_loop()
            self._preparing = loop.run_in_executor(self._executor, next, self._texts, None)
            self._preparing.add_done_callback(self._take_text)

    def _next_may_begin(self) -> bool:
        """Where every row makes a step of the GPT longer, a segment must not make those before it late."""
        if not self._heard or self._speeds.rows_are_free:
            return True
        if all(stream.all_codes_there for _, stream in self._started):
            return True
        # Who listens with nobody beside is not held back, once there is enough to listen to.
        alone = self._speeds.segments <= len(self._started) - self._sent
        return alone and self._playback.audio_s > 0 and self._playback.slack_s(self._sent) > AT_EASE_S

    def _take_text(self, prepared: asyncio.Future[TextSegment | None]) -> None:
        self._preparing = None
        if prepared.cancelled():
            return
        self._text_error = prepared.exception()
        if self._text_error is None:
            text = prepared.result()
            if text is None:
                self._all_prepared = True
            else:
                self._prepared.append(text)
        self._advance()
        self._changed.set()

    def _begin(self, text: TextSegment) -> None:
        index = len(self._started)
        audio_s = len(text.ids) * self._speeds.audio_s_per_token
        self._playback.expect(index, audio_s + self._pause_after_s(text))
        stream = self._start(index, text)
        stream.when_all_codes_are_there = self._codes_are_there
        self._started.append((text, stream))

    def _pause_after_s(self, text: TextSegment) -> float:
        return self._pause_s if text.pause_after_s is None else text.pause_after_s

    def _codes_are_there(self) -> None:
        self._advance()
        self._changed.set()

    def _counted(self, samples: Samples, index: int) -> AudioChunk:
        first = self._playback.audio_s == 0
        self._playback.sent(index, len(samples) / self._sample_rate_hz)
        self._advance()
        return AudioChunk(samples, index, self._spent_s() if first else {})

    def _spent_s(self) -> dict[str, float]:
        """So far, by stage: of what was sent, and of the segment that is being spoken."""
        spent_s = {**self._before_s, **self._stage_s}
        for _, stream in self._started[self._sent : self._sent + 1]:
            for stage, seconds in stream.stage_s.items():
                spent_s[stage] = spent_s.get(stage, 0.0) + seconds
        return spent_s

    def _finish(self, text: TextSegment, stream: SegmentStream) -> None:
        self._playback.complete(stream.index)
        if stream.mute:
            warning = f"the model had nothing to say for segment {stream.index + 1}, which is left out: {text.text!r}"
            self._warnings[warning] = None
        else:
            self._speaks = True
            self._speeds.observe_text(len(text.ids), self._playback.sent_s(stream.index))
        self._sent += 1
        for stage, seconds in stream.stage_s.items():
            self._stage_s[stage] = self._stage_s.get(stage, 0.0) + seconds
        self._warnings.update(dict.fromkeys(text.warnings))
        if stream.limit_reached:
            warning = f"segment {stream.index + 1} reached the limit of codes; its end may be missing"
            self._warnings[warning] = None
        self._advance()


def _nothing_to_speak() -> InvalidRequest:
    return InvalidRequest(
        "There is nothing to speak in the input after normalisation; send at least one word or number.",
        param="input",
        code="input_not_speakable",
    )


def _mute() -> Unavailable:
    return Unavailable(
        "the model had nothing to say for any part of the text; word it differently, or try another seed",
        code="segment_not_spoken",
    )
