"""All segments of a request: several at work at once, their audio in order, pauses in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from deployments.core.speech import AudioChunk, Samples, StreamEnd
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.stream.segment_stream import SegmentStream
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.indextts2.text.frontend import TextSegment
from deployments.streaming.joins import silence
from deployments.streaming.playback import Playback
from deployments.streaming.read_ahead import ReadAhead

TEXT_AHEAD = 2  # segments of text prepared before they can start


@dataclass(frozen=True, slots=True)
class _Running:
    text: TextSegment
    stream: SegmentStream
    samples: ReadAhead[Samples]


class Speech:
    """One request. `start` makes the work of the n-th segment; `events` may be called once."""

    def __init__(
        self,
        texts: AsyncGenerator[TextSegment, None],
        start: Callable[[int, TextSegment], SegmentStream],
        playback: Playback,
        geometry: Geometry,
        speeds: StageSpeeds,
        *,
        at_once: int,
        pause_s: float,
    ) -> None:
        self._texts = texts
        self._start = start
        self._playback = playback
        self._geometry = geometry
        self._speeds = speeds
        self._free = asyncio.Semaphore(at_once)
        self._pause_s = pause_s
        self._started: list[_Running] = []
        self._stage_s: dict[str, float] = {}
        self._warnings: dict[str, None] = {}

    async def events(self) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        """Audio in order, then the end. When it is closed, nothing of the request is running any more."""
        running = ReadAhead(self._running())
        last = -1
        try:
            async for segment in running:
                if last >= 0 and self._pause_s > 0:
                    yield self._sent(silence(self._pause_s, self._geometry.sample_rate_hz), last)
                async for samples in segment.samples:
                    yield self._sent(samples, segment.stream.index)
                last = segment.stream.index
                self._finish(segment)
        finally:
            # All are told to stop before any is waited for: the waiting may be cut short.
            working: list[ReadAhead[Any]] = [running, *(segment.samples for segment in self._started)]
            for work in working:
                work.cancel()
            await asyncio.gather(*(work.aclose() for work in working))
        yield StreamEnd(self._playback.audio_s, dict(self._stage_s), tuple(self._warnings))

    async def _running(self) -> AsyncGenerator[_Running, None]:
        """Start segments as their turn comes."""
        texts = ReadAhead(self._texts, TEXT_AHEAD)
        try:
            async for text in texts:
                await self._free.acquire()
                index = len(self._started)
                self._playback.expect(index, len(text.ids) * self._speeds.audio_s_per_token + self._pause_s)
                stream = self._start(index, text)
                self._started.append(_Running(text, stream, ReadAhead(stream.samples())))
                yield self._started[-1]
        finally:
            await texts.aclose()

    def _sent(self, samples: Samples, index: int) -> AudioChunk:
        self._playback.sent(index, len(samples) / self._geometry.sample_rate_hz)
        return AudioChunk(samples, index)

    def _finish(self, segment: _Running) -> None:
        stream = segment.stream
        self._playback.complete(stream.index)
        self._speeds.observe_text(len(segment.text.ids), self._playback.sent_s(stream.index))
        self._free.release()
        for stage, seconds in stream.stage_s.items():
            self._stage_s[stage] = self._stage_s.get(stage, 0.0) + seconds
        self._warnings.update(dict.fromkeys(segment.text.warnings))
        if stream.limit_reached:
            self._warnings[
                f"segment {stream.index + 1} reached the limit of codes; its end may be missing"
            ] = None
