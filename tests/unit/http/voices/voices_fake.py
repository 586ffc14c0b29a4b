"""What the ingress sees of a graph with uploaded voices: a registry with a real store, and a model that clones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import numpy as np

from deployments.core.catalogue import Catalogue, ModelCard, VoiceCard
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd, StreamEvent, StreamStart
from deployments.indextts2.sampling import Params, Presets
from deployments.voices.library import Outcome, VoiceLibrary
from deployments.voices.profile import EncodedProfile, VoiceProfile
from deployments.voices.reference import Recording, ReferenceAudio
from deployments.voices.registered_voice import RegisteredVoice
from serve_app.config import VoiceSettings
from serve_app.observe.now import ModelNow
from serve_app.routing.decision import Decision
from serve_app.routing.needs import Needs
from serve_app.routing.policy import Policy, decide
from serve_app.voice_registry import VoiceRegistry

Clip = Callable[..., bytes]


class FixedModel:
    """One model with the voices it came with."""

    def __init__(self, name: str, *, cloning: bool = False) -> None:
        self.card = ModelCard(name, "toy", 16_000, ("en",), "anna", cloning=cloning, emotion=cloning)
        self.voices: tuple[VoiceCard, ...] = ()
        if not cloning:
            self.voices = (VoiceCard("anna", "Anna", name, "en", aliases=("alloy", "Änne")),)


class CloningModel(FixedModel):
    """Its encoder measures the loudness and counts how often it was asked."""

    def __init__(self, name: str) -> None:
        super().__init__(name, cloning=True)
        self.encoded = 0

    def use_library(self, library: VoiceLibrary) -> None:
        self.library = library

    async def prepare_voice(self, voice: RegisteredVoice) -> Outcome:
        found = await self.library.profile(Recording.of(voice), self.card.name, "1", self._encode)
        return found.outcome

    def reference_warnings(self, duration_s: float) -> tuple[str, ...]:
        return ("only 15 s are heard",) if duration_s > 15 else ()

    async def _encode(self, audio: ReferenceAudio) -> EncodedProfile:
        self.encoded += 1
        return EncodedProfile(VoiceProfile({"loudness": np.abs(audio.samples).mean(keepdims=True)}), "1")


class VoiceService:
    """What the ingress sees of the graph: a registry, and speech whose requests are checked and kept, not spoken."""

    def __init__(self, store: Path, *models: FixedModel) -> None:
        self.models = models
        pipelines: dict[str, Any] = {model.card.name: model for model in models}
        self.registry = VoiceRegistry(VoiceSettings(url=str(store)), pipelines)
        self.requests: list[SpeechRequest] = []  # that a model would speak
        self.register_voice = self.registry.register
        self.registered_voice = self.registry.get
        self.update_voice = self.registry.update
        self.delete_voice = self.registry.delete
        self.voice_sample = self.registry.sample
        self.preload_voice = self.registry.preload

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        Presets().named(request.quality or "balanced").changed(request.params)
        self.requests.append(request)
        ignored = Params.unknown(request.params)
        yield StreamStart("clone", request.voice or "anna", 24_000, "only-suitable", ignored=ignored)
        yield AudioChunk(np.zeros(2400, np.float32), 0)
        yield StreamEnd(0.1)

    async def route(self, request: SpeechRequest) -> Decision:
        cards = tuple(model.card for model in self.models)
        return decide(request, Needs(), Policy(cards, {}), {})

    async def catalogue(self, *, voices: bool = True) -> Catalogue:
        cards = tuple(model.card for model in self.models)
        known: tuple[VoiceCard, ...] = ()
        if voices:
            fixed = (voice for model in self.models for voice in model.voices)
            known = (*fixed, *await self.registry.cards())
        return Catalogue(cards, known, {}, cards[0].name)

    async def status(self) -> dict[str, bool]:
        return {}

    async def now(self) -> tuple[ModelNow, ...]:
        return ()
