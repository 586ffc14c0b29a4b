"""One utterance of a session: its text as it arrives, and its audio, which is one file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from deployments.core.errors import InvalidRequest, SpeechError
from deployments.core.ray_internals import own_context
from deployments.core.speech import Samples, SpeechRequest, StreamStart
from deployments.streaming.joins import silence
from deployments.streaming.read_ahead import ReadAhead
from deployments.text.check import check_text
from serve_app.audio.delivery import Delivery, encode, in_thread, open_encoder
from serve_app.audio.encoders import FORMATS, output_rate_hz
from serve_app.http.service import SpeechService, retry_when_full
from serve_app.http.websocket.messages import SessionConfig
from serve_app.http.websocket.text_pieces import TextPiece, TextPieces

PIECES_AT_ONCE = 2  # the one being sent and the next
SAMPLES_AHEAD = 40  # arrays of at most 0.25 s
LATER_PIECE_WAIT_S = 30.0  # for a place: its listener has heard the beginning already


class Utterance:
    """Text goes in with `add` and `finish`, encoded audio comes out of `encoded`, which may be called once."""

    def __init__(
        self,
        number: int,
        config: SessionConfig,
        request: SpeechRequest,
        service: SpeechService,
        max_chars: int,
    ) -> None:
        """`request`: what its pieces ask for, with their texts and numbers put in."""
        self._request = request
        self.number = number
        self.config = config
        self.ended = False  # its audio.done has been sent
        self.samples_sent = 0
        self.bytes_sent = 0
        self.start: StreamStart | None = None  # of the first piece; later ones keep its model and voice
        self.warnings: dict[str, None] = {}  # of all pieces, each once
        self._service = service
        self._max_chars = max_chars
        self._text = TextPieces(config.split_granularity, cleaning=config.text_cleaning)
        self._pieces: asyncio.Queue[TextPiece | None] = asyncio.Queue()
        self._started = asyncio.Event()
        self._free = asyncio.Semaphore(PIECES_AT_ONCE)
        self._running: list[ReadAhead[Samples]] = []
        self.fmt = FORMATS[config.response_format]
        self.sample_rate_hz = output_rate_hz(self.fmt, config.sample_rate)

    @property
    def request_id(self) -> str:
        return self._request.request_id

    @property
    def duration_s(self) -> float:
        return self.samples_sent / self.sample_rate_hz

    def add(self, text: str) -> None:
        """Raises InvalidRequest, and leaves the utterance as it was, where it would get too long."""
        total = len(self._text.text) + len(text)
        if total > self._max_chars:
            raise InvalidRequest(
                f"the utterance would have {total} characters; at most {self._max_chars} are allowed, so this text was "
                "not taken. Send input.done and go on in another utterance",
                param="text",
                code="input_too_long",
            )
        self._put(self._text.add(text))

    def finish(self) -> None:
        self._put(self._text.finish())
        self._pieces.put_nowait(None)

    def _put(self, pieces: list[TextPiece]) -> None:
        for piece in pieces:
            self._pieces.put_nowait(piece)

    async def encoded(self) -> AsyncGenerator[bytes, None]:
        """The file in parts as they are ready. Raises SpeechError; closing it stops all work for the utterance."""
        encoder = await open_encoder(self.fmt, self.sample_rate_hz)
        async with aclosing(self._samples()) as pieces:
            async for samples in pieces:
                self.samples_sent += len(samples)
                if data := await encode(encoder, samples):
                    self.bytes_sent += len(data)
                    yield data
        if data := await in_thread(encoder.close):
            self.bytes_sent += len(data)
            yield data

    async def _samples(self) -> AsyncGenerator[Samples, None]:
        pieces = ReadAhead(self._begin_pieces())
        pause_s: float | None = None
        try:
            async for piece, audio in pieces:
                if pause_s is not None:
                    yield silence(pause_s, self.sample_rate_hz)
                async for samples in audio:
                    yield samples
                pause_s = self._pause_s(piece)
                self._free.release()
        finally:
            # All are told to stop before any is waited for: the waiting may be cut short.
            working: list[ReadAhead[Any]] = [pieces, *self._running]
            for work in working:
                work.cancel()
            await asyncio.gather(*(work.aclose() for work in working))
        if pause_s is None:
            check_text(self._text.text, max_chars=self._max_chars, cleaning=self.config.text_cleaning)
            raise SpeechError("the text was not cut into any piece")

    def _pause_s(self, piece: TextPiece) -> float:
        if self.config.pause_ms is not None:
            return self.config.pause_ms / 1000
        return piece.pause_after_s / self.config.speed

    async def _begin_pieces(self) -> AsyncGenerator[tuple[TextPiece, ReadAhead[Samples]], None]:
        """Begin each piece when its text is there and it is its turn."""
        while (piece := await self._pieces.get()) is not None:
            await self._free.acquire()
            if self._running:
                await self._started.wait()
            audio = own_context(ReadAhead[Samples], self._piece_samples(piece), SAMPLES_AHEAD)
            self._running.append(audio)
            yield piece, audio

    async def _piece_samples(self, piece: TextPiece) -> AsyncGenerator[Samples, None]:
        request = replace(
            self._request,
            text=piece.text,
            request_id=f"{self.request_id}-{len(self._running)}",
            part_of=self.request_id,
        )
        if self.start is None:
            delivery = await self._open(request)
            self.start = delivery.start
            self._started.set()
        else:
            start = self.start
            until_s = time.monotonic() + LATER_PIECE_WAIT_S
            delivery = await retry_when_full(lambda: self._open_next(request, start), until_s)
        try:
            async for samples in delivery.samples():
                yield samples
        finally:
            self.warnings.update(dict.fromkeys(delivery.warnings))
            await delivery.close()

    async def _open_next(self, request: SpeechRequest, start: StreamStart) -> Delivery:
        """With the model and the voice that began; nobody would expect another one in the middle."""
        request = replace(request, model=start.model, fallback=False, filler=False)
        if request.reference_audio is not None:
            return await self._open(request)
        try:
            return await self._open(replace(request, voice=start.voice))
        except InvalidRequest as error:
            # A voice taken by default or by an alias may not speak the language that follows; another may.
            if error.param != "voice" or request.voice == start.voice:
                raise
            return await self._open(request)

    async def _open(self, request: SpeechRequest) -> Delivery:
        return await Delivery.open(self._service.stream(request), self.fmt, self.sample_rate_hz)
