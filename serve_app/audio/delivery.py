"""From a stream of model events to a stream of encoded bytes: tempo, sample rate, container."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import numpy as np

from deployments.core.errors import Unavailable
from deployments.core.speech import AudioChunk, Samples, StreamEnd, StreamEvent, StreamStart
from serve_app.audio.encoders import AudioFormat, Encoder, PcmEncoder, WavEncoder, make_encoder
from serve_app.audio.resample import Resampler, TimeStretch

PIECE_S = 0.25  # audio encoded at a time: the first bytes need not wait for a long segment to be encoded
EMPTY: Samples = np.zeros(0, dtype=np.float32)


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

    async def samples(self) -> AsyncGenerator[Samples, None]:
        """Samples at the output rate, in pieces of at most 0.25 s. Raises if the stream was cut."""
        tempo = TimeStretch(self.start.tempo, self.start.sample_rate_hz)
        resampler = Resampler(self.start.sample_rate_hz, self.sample_rate_hz)
        piece = round(PIECE_S * self.sample_rate_hz)
        async for event in self._all_events():
            if isinstance(event, StreamEnd):
                self.end = event
                rest = resampler.write(tempo.write(EMPTY, last=True), last=True)
            else:
                rest = resampler.write(tempo.write(event.samples))
            for begin in range(0, len(rest), piece):
                self.samples_sent += len(rest[begin : begin + piece])
                yield rest[begin : begin + piece]
        if self.end is None:
            raise Unavailable("the model stopped before the text was spoken")

    async def _all_events(self) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        yield self._first
        async for event in self._events:
            if isinstance(event, AudioChunk | StreamEnd):
                yield event

    async def encoded(self) -> AsyncGenerator[bytes, None]:
        """The file in pieces as they are ready; stops all work for the request when closed."""
        encoder = make_encoder(self.fmt, self.sample_rate_hz)
        try:
            async for samples in self.samples():
                if data := await encode(encoder, samples):
                    yield data
            if data := encoder.close():
                yield data
        finally:
            await self.close()

    async def whole(self) -> bytes:
        """The complete file, with exact sizes where the format states them."""
        try:
            pieces = [samples async for samples in self.samples()]
        finally:
            await self.close()
        samples = np.concatenate(pieces) if pieces else EMPTY
        encoder = make_encoder(self.fmt, self.sample_rate_hz, samples_total=len(samples))
        return await asyncio.to_thread(lambda: encoder.write(samples) + encoder.close())

    async def close(self) -> None:
        await self._events.aclose()


async def encode(encoder: Encoder, samples: Samples) -> bytes:
    """`encoder.write(samples)` without holding up the event loop."""
    if isinstance(encoder, PcmEncoder | WavEncoder):
        return encoder.write(samples)
    # mp3 and aac take 3 to 10 ms per piece, during which other requests must go on.
    return await asyncio.to_thread(encoder.write, samples)
