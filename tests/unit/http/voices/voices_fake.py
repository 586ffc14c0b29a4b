"""What the ingress sees of a graph with uploaded voices: a desk with a real store, and a model that clones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import numpy as np

from deployments.core.speech import (
    AudioChunk,
    ModelCard,
    SpeechRequest,
    StreamEnd,
    StreamEvent,
    StreamStart,
    Voice,
)
from deployments.voices.library import Outcome, VoiceLibrary
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio
from deployments.voices.voice import Voice as RegisteredVoice
from serve_app.config import VoiceSettings
from serve_app.router import Catalogue
from serve_app.voice_registry import VoiceDesk

Clip = Callable[..., bytes]


class FixedModel:
    """One model with the voices it came with."""

    def __init__(self, name: str, *, cloning: bool = False) -> None:
        self.card = ModelCard(name, "toy", 16_000, ("en",), "anna", cloning=cloning, emotion=cloning)

    async def voices(self) -> list[Voice]:
        return (
            []
            if self.card.cloning
            else [Voice("anna", "Anna", self.card.name, "en", aliases=("alloy", "Änne"))]
        )


class CloningModel(FixedModel):
    """Its encoder measures the loudness and counts how often it was asked."""

    def __init__(self, name: str) -> None:
        super().__init__(name, cloning=True)
        self.encoded = 0

    def use_library(self, library: VoiceLibrary) -> None:
        self.library = library

    async def prepare_voice(self, voice: RegisteredVoice) -> Outcome:
        return (await self.library.profile(voice, self.card.name, "1", self._encode))[1]

    def reference_warnings(self, duration_s: float) -> tuple[str, ...]:
        return ("only 15 s are heard",) if duration_s > 15 else ()

    async def _encode(self, audio: ReferenceAudio) -> VoiceProfile:
        self.encoded += 1
        return VoiceProfile({"loudness": np.abs(audio.samples).mean(keepdims=True)})


class VoiceService:
    """What the ingress sees of the graph: a desk, and speech that is recorded instead of spoken."""

    def __init__(self, store: Path, *models: FixedModel) -> None:
        self.models = models
        self.desk = VoiceDesk(VoiceSettings(url=str(store)), {model.card.name: model for model in models})  # type: ignore[misc]
        self.requests: list[SpeechRequest] = []
        self.register_voice = self.desk.register
        self.registered_voice = self.desk.get
        self.update_voice = self.desk.update
        self.delete_voice = self.desk.delete
        self.voice_sample = self.desk.sample
        self.preload_voice = self.desk.preload

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        self.requests.append(request)
        yield StreamStart("clone", request.voice or "anna", 24_000, "only-suitable")
        yield AudioChunk(np.zeros(2400, np.float32), 0)
        yield StreamEnd(0.1)

    async def catalogue(self) -> Catalogue:
        fixed = [voice for model in self.models for voice in await model.voices()]
        cards = tuple(model.card for model in self.models)
        return Catalogue(cards, (*fixed, *await self.desk.voices()), {}, cards[0].name)

    async def status(self) -> dict[str, bool]:
        return {}
