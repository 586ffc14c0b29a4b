"""Streams of a model that works on many at a time: let in, made ahead of their listeners, and learnt from."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from deployments.core.speech import AudioChunk, StreamEnd
from deployments.streaming.admission import SharedStream, StreamAdmission
from deployments.streaming.cost import CostMeter, PieceCost
from deployments.streaming.playback import Playback
from deployments.streaming.read_ahead import ReadAhead

EXTRA_AUDIO_S = 0.4  # of any text, however short, before the first was spoken

SpeechEvents = AsyncGenerator[AudioChunk | StreamEnd, None]


class AdmittedStreams:
    """Used from one event loop. How long a text is spoken is learnt from every stream that comes to its end."""

    def __init__(self, admission: StreamAdmission, sample_rate_hz: int) -> None:
        self._admission = admission
        self._sample_rate_hz = sample_rate_hz
        self._audio = CostMeter(PieceCost(EXTRA_AUDIO_S, 1.0))  # by the usual length

    async def events(
        self,
        usual_s: float,
        make: Callable[[Playback], SpeechEvents],
        *,
        rows: int = 1,
        at_once: bool = False,
    ) -> SpeechEvents:
        """What `make` makes for a listener, once it is the stream's turn. Raises Overloaded, and what `make` raises.

        usual_s: how long such a text is spoken at a nominal pace; rows: of the model's engine, taken before the first
        audio; at_once: without waiting for a turn.
        """
        stream = SharedStream(Playback(), self._audio.cost.seconds(usual_s), rows)
        arrived_s = time.monotonic()
        async with self._admission.turn(stream, at_once=at_once):
            queue = {"queue": time.monotonic() - arrived_s}
            # Work goes on however slowly a client takes the audio: the places at the stages belong to everybody.
            made = ReadAhead(make(stream.playback))
            try:
                first = True
                async for event in made:
                    if first and isinstance(event, AudioChunk):
                        self._admission.first_audio(stream, len(event.samples) / self._sample_rate_hz)
                        first = False
                    yield replace(event, stage_s={**queue, **event.stage_s})
            finally:
                await made.aclose()
            self._audio.observe(usual_s, stream.playback.audio_s)
