"""From a stream of model events to a stream of encoded bytes: tempo, sample rate, container."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from deployments.core.errors import Unavailable
from deployments.core.speech import AudioChunk, Samples, StreamEnd, StreamEvent, StreamStart
from serve_app.audio.encoders import AudioFormat, Encoder, PcmEncoder, WavEncoder, make_encoder
from serve_app.audio.resample import Resampler, TimeStretch

T = TypeVar("T")
PIECE_S = 0.25  # audio encoded at a time: the first bytes need not wait for a long segment to be encoded
EMPTY: Samples = np.zeros(0, dtype=np.float32)
# Converting and encoding take milliseconds per piece, during which other requests must go on.
_THREADS = ThreadPoolExecutor(max_workers=min(8, 1 + (os.cpu_count() or 1)), thread_name_prefix="audio")


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work, *arguments)


class _Conversion:
    """From the model's tempo and rate to those of the answer, piece by piece."""

    def __init__(self, start: StreamStart, sample_rate_hz: int) -> None:
        self._tempo = TimeStretch(start.tempo, start.sample_rate_hz)
        self._resampler = Resampler(start.sample_rate_hz, sample_rate_hz)
        self._piece = round(PIECE_S * sample_rate_hz)

    @property
    def changes_nothing(self) -> bool:
        return self._tempo.changes_nothing and self._resampler.changes_nothing

    def pieces(self, samples: Samples, last: bool) -> list[Samples]:
        """At most 0.25 s each; after `last` nothing is left inside."""
        converted = self._resampler.write(self._tempo.write(samples, last=last), last=last)
        return [converted[at : at + self._piece] for at in range(0, len(converted), self._piece)]


@dataclass
class Delivery:
    """One answer. `open` waits for the first audio, so that errors before it can still have a status code."""

    start: StreamStart
    fmt: AudioFormat
    sample_rate_hz: int
    _first: AudioChunk
    _events: AsyncGenerator[StreamEvent, None]
    samples_sent: int = field(default=0)
    end: StreamEnd | None = field(default=None)

    @classmethod
    async def open(
        cls, events: AsyncGenerator[StreamEvent, None], fmt: AudioFormat, sample_rate_hz: int
    ) -> Delivery:
        try:
            start = await anext(events)
            first = await anext(events)
        except BaseException as error:
            await events.aclose()
            if isinstance(error, StopAsyncIteration):
                raise Unavailable("the model ended without any audio; try again", retry_after_s=1) from None
            raise
        if not isinstance(start, StreamStart) or not isinstance(first, AudioChunk):
            await events.aclose()
            raise Unavailable("the model began without any audio; try again", retry_after_s=1)
        return cls(start, fmt, sample_rate_hz, first, events)

    @property
    def duration_s(self) -> float:
        return self.samples_sent / self.sample_rate_hz

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a listener may miss, each once; complete when the audio is."""
        return tuple(dict.fromkeys((*self.start.warnings, *(self.end.warnings if self.end else ()))))

    @property
    def stage_ms(self) -> dict[str, float]:
        """What each stage has spent on the request; complete when the audio is."""
        return {stage: round(1000 * s, 1) for stage, s in (self.end.stage_s if self.end else {}).items()}

    async def samples(self) -> AsyncGenerator[Samples, None]:
        """Samples at the output rate, in pieces of at most 0.25 s. Raises if the stream was cut."""
        conversion = await in_thread(_Conversion, self.start, self.sample_rate_hz)
        event: AudioChunk | StreamEnd = self._first
        while True:
            last = isinstance(event, StreamEnd)
            samples = EMPTY if isinstance(event, StreamEnd) else event.samples
            if conversion.changes_nothing:
                pieces = conversion.pieces(samples, last)
            else:
                pieces = await in_thread(conversion.pieces, samples, last)
            if isinstance(event, StreamEnd):
                self.end = event
            for piece in pieces:
                self.samples_sent += len(piece)
                yield piece
            if last:
                return
            event = await self._next_event()

    async def _next_event(self) -> AudioChunk | StreamEnd:
        async for event in self._events:
            if isinstance(event, AudioChunk | StreamEnd):
                return event
        raise Unavailable("the model stopped before the text was spoken")

    async def encoded(self) -> AsyncGenerator[bytes, None]:
        """The file in pieces as they are ready; stops all work for the request when closed."""
        try:
            encoder = await open_encoder(self.fmt, self.sample_rate_hz)
            async for samples in self.samples():
                if data := await encode(encoder, samples):
                    yield data
            if data := await in_thread(encoder.close):
                yield data
        finally:
            await self.close()

    async def whole(self) -> bytes:
        """The complete file, with exact sizes where the format states them."""
        try:
            pieces = [samples async for samples in self.samples()]
        finally:
            await self.close()
        return await in_thread(self._file, pieces)

    def _file(self, pieces: list[Samples]) -> bytes:
        samples = np.concatenate(pieces) if pieces else EMPTY
        encoder = make_encoder(self.fmt, self.sample_rate_hz, samples_total=len(samples))
        return encoder.write(samples) + encoder.close()

    async def close(self) -> None:
        await self._events.aclose()


async def open_encoder(fmt: AudioFormat, sample_rate_hz: int) -> Encoder:
    return await in_thread(make_encoder, fmt, sample_rate_hz)


async def encode(encoder: Encoder, samples: Samples) -> bytes:
    """`encoder.write(samples)` without holding up the event loop."""
    if isinstance(encoder, PcmEncoder | WavEncoder):
        return encoder.write(samples)
    return await in_thread(encoder.write, samples)
