"""A model for tests that never answers: planning a request, preparing a voice, warming up and saying whether it is
ready all hang, as behind a stage that is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.core.pipeline import Plan
from deployments.core.speech import SpeechRequest
from deployments.voices.library import Outcome, VoiceLibrary
from deployments.voices.registered_voice import RegisteredVoice
from toys import tones


class Pipeline(tones.Pipeline):
    def __init__(
        self, name: str, settings: tones.ToneSettings, stages: Mapping[str, DeploymentHandle[Any]]
    ) -> None:
        super().__init__(name, settings, stages)
        self.card = replace(self.card, kind="toys.sloth", cloning=True)

    async def warm_up(self) -> None:
        await asyncio.Event().wait()

    async def ready(self) -> bool:
        await asyncio.Event().wait()
        return True

    async def plan(self, request: SpeechRequest) -> Plan:
        await asyncio.Event().wait()
        raise AssertionError

    def use_library(self, library: VoiceLibrary) -> None: ...

    def reference_warnings(self, duration_s: float) -> tuple[str, ...]:
        return ()

    async def prepare_voice(self, voice: RegisteredVoice) -> Outcome:
        await asyncio.Event().wait()
        return "miss"
