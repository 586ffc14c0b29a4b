"""A family of models in one folder, as a newcomer would add it: two stages, a parameter of its own, cloned voices."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from deployments.core import settings
from deployments.core.catalogue import ModelCard
from deployments.core.metrics import StageMonitor
from deployments.core.pipeline import Plan
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd
from deployments.core.stages import Stage, answer
from deployments.voices.library import CloningPipeline, Outcome, ProfileFound, VoiceLibrary
from deployments.voices.profile import EncodedProfile
from deployments.voices.reference import Recording, ReferenceAudio
from deployments.voices.registered_voice import RegisteredVoice
from deployments.voices.resolver import VoiceResolver
from toys.chimes.stages import SAMPLE_RATE_HZ, VERSION, Params, RingJob


class ChimeSettings(settings.Settings):
    voices: str  # a folder of recordings


@dataclass(frozen=True, slots=True, kw_only=True)
class ChimePlan(Plan):
    job: RingJob


class Pipeline(CloningPipeline):
    Settings: ClassVar[type[settings.Settings]] = ChimeSettings

    def __init__(
        self, name: str, settings: ChimeSettings, stages: Mapping[str, DeploymentHandle[Any]]
    ) -> None:
        self.monitor = StageMonitor()
        self._stages = stages
        self._resolver = VoiceResolver(
            name,
            Path(settings.voices),
            aliases={},
            default=None,
            reference_warnings=self.reference_warnings,
        )
        self.voices = self._resolver.stock_cards
        self.card = ModelCard(
            name=name,
            kind=__name__,
            sample_rate_hz=SAMPLE_RATE_HZ,
            languages=("en",),
            default_voice=self._resolver.default,
            cloning=True,
            description="Bells for words",
            parameters=Params().schema_here(),
        )

    @classmethod
    def deployments(cls, name: str, settings: ChimeSettings) -> dict[str, Application]:
        return {
            "ear": Stage("toys.chimes.stages.Ear", num_cpus=0).bind(f"{name}-ear"),
            "bell": Stage("toys.chimes.stages.Bell", num_cpus=0).bind(f"{name}-bell"),
        }

    @classmethod
    def check_files(cls, settings: ChimeSettings) -> None:
        return None

    def use_library(self, library: VoiceLibrary) -> None:
        self._library = library

    async def prepare_voice(self, voice: RegisteredVoice) -> Outcome:
        return (await self._profile(Recording.of(voice))).outcome

    def reference_warnings(self, duration_s: float) -> tuple[str, ...]:
        return ()

    async def ready(self) -> bool:
        return all([await answer(stage.ready.remote()) for stage in self._stages.values()])

    async def plan(self, request: SpeechRequest) -> ChimePlan:
        params = Params().changed(request.params)
        voice = await self._resolver.resolve(request, self._library)
        found = await self._profile(voice.recording)
        return ChimePlan(
            request,
            voice.card,
            tempo=request.speed,
            voice_cache="miss" if found.outcome == "miss" else "hit",
            ignored=Params.unknown(request.params),
            job=RingJob(
                len(request.text.split()), float(found.profile["gain"].max()), params, request.request_id
            ),
        )

    async def stream(self, plan: Plan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        assert isinstance(plan, ChimePlan)
        began_s = time.monotonic()
        reply = await answer(self._stages["bell"].ring.remote(plan.job))
        spent_s = {"bell": time.monotonic() - began_s}
        samples = self.monitor.heard("bell", reply)
        yield AudioChunk(samples, 0, spent_s)
        yield StreamEnd(len(samples) / SAMPLE_RATE_HZ, spent_s)

    async def _profile(self, recording: Recording) -> ProfileFound:
        return await self._library.profile(recording, "chimes", VERSION, self._encode)

    async def _encode(self, recording: ReferenceAudio) -> EncodedProfile:
        return self.monitor.heard("ear", await answer(self._stages["ear"].encode.remote(recording)))
