"""A service that speaks words as tones, each word taking its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from http_fakes import MODEL_RATE_HZ, ToyParams, catalogue, judge, tone

from deployments.core.catalogue import Catalogue
from deployments.core.errors import InvalidRequest, NotFound, Overloaded, SpeechError
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd, StreamEvent, StreamStart
from deployments.text.check import check_text
from deployments.voices.registered_voice import RegisteredVoice
from serve_app.config import Limits

MAX_CHARS = 200
MAX_BYTES = 5000
SMALL = Limits(max_body_bytes=MAX_BYTES, max_input_chars=MAX_CHARS)
WORD_S = 0.1


@dataclass
class Speaker:
    """Every word is a tone. `slow` makes each later word take 20 ms, `broken` fails, `crash` crashes, `full` is
    refused `refusals` times, `Chinese` cannot be spoken by the voice `anna`."""

    refusals: int = 0
    requests: list[SpeechRequest] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    words: int = 0
    voices_listed: int = 0

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        self.requests.append(request)
        judge(request)
        words = check_text(request.text, max_chars=MAX_CHARS, cleaning=request.text_cleaning).split()
        if "full" in words and self.refusals:
            self.refusals -= 1
            raise Overloaded("full", retry_after_s=0.02)
        if "Chinese" in words and request.voice == "anna":
            raise InvalidRequest("anna does not speak Chinese", param="voice")
        if "broken" in words:
            raise SpeechError("this is broken")
        if "crash" in words:
            raise RuntimeError("a bug")
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            voice = "mei" if "Chinese" in words else "anna"
            ignored = ToyParams.unknown(request.params)
            if request.instructions is not None:
                ignored = ("instructions", *ignored)
            yield StreamStart("toy", voice, MODEL_RATE_HZ, "test", ignored=ignored)
            for word in words:
                await asyncio.sleep(0.02 if "slow" in words else 0)
                self.words += 1
                yield AudioChunk(tone(WORD_S), len(word))
            yield StreamEnd(len(words) * WORD_S)
        finally:
            self.running -= 1

    async def catalogue(self, *, voices: bool = True) -> Catalogue:
        self.voices_listed += voices
        return catalogue(voices=voices)

    async def registered_voice(self, name: str) -> RegisteredVoice:
        if name != "Ada":
            raise NotFound(f"no {name}")
        return RegisteredVoice("voice_1", "Ada", "0" * 64, "audio/wav", 1, 4.0, 16_000)
