"""VoxCPM: an encoder for voices and an engine that speaks, patch by patch; segments one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, ClassVar

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from deployments.core import settings
from deployments.core.catalogue import ModelCard
from deployments.core.errors import CheckpointError, SpeechError
from deployments.core.logs import RequestLogger
from deployments.core.metrics import StageMonitor
from deployments.core.pipeline import Forecast, Plan
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd
from deployments.streaming.admission import StreamAdmission
from deployments.streaming.admitted import AdmittedStreams
from deployments.streaming.crowd_cost import CrowdCost
from deployments.streaming.playback import Playback
from deployments.text.scripts import check_scripts, spoken_width
from deployments.voices.library import CloningPipeline, Outcome, VoiceLibrary
from deployments.voices.reference import Recording
from deployments.voices.registered_voice import RegisteredVoice
from deployments.voices.resolver import VoiceResolver
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.memory import stage_bytes
from deployments.voxcpm.plan import CHARS_PER_S, RANDOM_VOICE, VoxCPMFacts, VoxCPMPlan, VoxCPMPlanner
from deployments.voxcpm.segment_jobs import SegmentJobs
from deployments.voxcpm.settings import VoxCPMSettings
from deployments.voxcpm.speech import SegmentedSpeech
from deployments.voxcpm.stages import VoxCPMStages, bind_stages
from deployments.weights.registry import locate, missing_files

STOCK_FOLDER = "voices"  # of the checkpoint
TEXT_THREADS = 2
SECONDS_PER_AUDIO_S = 0.3  # before the first stream was measured
# Alone and in company, so that how many may begin is planned from measurements, too.
WARM_UP = "Good morning, the server is ready to speak."
WARM_UP_CROWDS = (1, 3)
WARM_UP_PATCHES = 40  # at most: random weights may never stop


class Pipeline(CloningPipeline):
    Settings: ClassVar[type[settings.Settings]] = VoxCPMSettings

    def __init__(
        self,
        name: str,
        settings: VoxCPMSettings,
        stages: Mapping[str, DeploymentHandle[Any]],
        *,
        facts: VoxCPMFacts | None = None,
    ) -> None:
        """Reads the tokenizer and finds the voices of the checkpoint. Raises CheckpointError."""
        facts = facts or VoxCPMFacts.read(settings.checkpoint)
        self.monitor = StageMonitor()
        self._settings = settings
        self._facts = facts
        self._stages = VoxCPMStages(stages, self.monitor)
        voices = VoiceResolver(
            name,
            facts.directory / STOCK_FOLDER,
            aliases=settings.voice_aliases,
            default=settings.default_voice,
            reference_warnings=self.reference_warnings,
        )
        self._planner = VoxCPMPlanner(name, settings, facts, self._stages, voices)
        self.voices = (*voices.stock_cards, self._planner.random)
        self.card = _card(name, settings, facts, self._planner.default_voice)
        self._admission = StreamAdmission(
            name,
            CrowdCost(SECONDS_PER_AUDIO_S),
            longest_wait_s=settings.longest_wait_s,
            rows=lambda: self.monitor.rows("engine", otherwise=settings.engine.slots),
        )
        self._streams = AdmittedStreams(self._admission, facts.sample_rate_hz)
        self._warming = False
        self._library: VoiceLibrary | None = None
        # Of its own: a slow upload or store must not delay the text of another request.
        self._text_threads = ThreadPoolExecutor(TEXT_THREADS, thread_name_prefix=f"{name}-text")

    @classmethod
    def deployments(cls, name: str, settings: VoxCPMSettings) -> dict[str, Application]:
        return bind_stages(name, settings)

    @classmethod
    def check_files(cls, settings: VoxCPMSettings) -> None:
        files = VoxCPMCheckpoint(locate(settings.checkpoint))
        if missing := files.missing():
            raise CheckpointError(missing_files(files.directory, missing, files.model))

    @classmethod
    def device_bytes(cls, name: str, settings: VoxCPMSettings) -> dict[str, int]:
        sizes = stage_bytes(settings, VoxCPMCheckpoint(locate(settings.checkpoint)))
        return {f"{name}-{stage}": size for stage, size in sizes.items()}

    def forecast(self) -> Forecast:
        return self._admission.forecast()

    async def ready(self) -> bool:
        return await self._stages.ready() and not self._warming

    async def warm_up(self) -> None:
        self._warming = True
        try:
            await self._stages.ready()
            for crowd in WARM_UP_CROWDS:
                await asyncio.gather(*(self._speak_once(f"warm-up-{crowd}-{n}") for n in range(crowd)))
        finally:
            self._warming = False

    async def _speak_once(self, request_id: str) -> None:
        request = SpeechRequest(request_id, WARM_UP, voice=RANDOM_VOICE, params={"max_len": WARM_UP_PATCHES})
        try:
            async with aclosing(self._spoken(await self._plan(request), at_once=True)) as events:
                async for _ in events:
                    pass
        except SpeechError as error:
            RequestLogger(request_id).info("nothing was measured: %s", error)

    def use_library(self, library: VoiceLibrary) -> None:
        self._library = library

    async def prepare_voice(self, voice: RegisteredVoice) -> Outcome:
        found = await self._planner.profile(Recording.of(voice), self._voice_library)
        return found.outcome

    def reference_warnings(self, duration_s: float) -> tuple[str, ...]:
        """None: all of a recording is used."""
        return ()

    async def plan(self, request: SpeechRequest) -> VoxCPMPlan:
        check_scripts(request.text, self.card.name, self.card.languages)
        return await self._plan(request)

    async def _plan(self, request: SpeechRequest) -> VoxCPMPlan:
        return await self._planner.plan(request, self._voice_library)

    async def stream(self, plan: Plan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        assert isinstance(plan, VoxCPMPlan)
        async with aclosing(self._spoken(plan)) as events:
            async for event in events:
                yield event

    def _spoken(
        self, plan: VoxCPMPlan, *, at_once: bool = False
    ) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        """`at_once`: without waiting for a turn."""

        def make(playback: Playback) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
            return self._speech(plan, playback).events()

        return self._streams.events(spoken_width(plan.text) / CHARS_PER_S, make, at_once=at_once)

    def _speech(self, plan: VoxCPMPlan, playback: Playback) -> SegmentedSpeech:
        engine = self._settings.engine
        jobs = SegmentJobs(
            plan,
            self._facts.frontend,
            max_length=min(engine.max_length, self._facts.dims.max_length),
            first_patch_steps=engine.first_patch_steps,
        )
        return SegmentedSpeech(
            plan,
            self._planner.texts(plan),
            self._text_threads,
            jobs,
            self._stages,
            playback,
            self._facts.sample_rate_hz,
        )

    @property
    def _voice_library(self) -> VoiceLibrary:
        if self._library is None:
            raise RuntimeError("use_library must be called before the first request")
        return self._library


def _card(name: str, settings: VoxCPMSettings, facts: VoxCPMFacts, default_voice: str) -> ModelCard:
    return ModelCard(
        name=name,
        kind="voxcpm",
        sample_rate_hz=facts.sample_rate_hz,
        languages=facts.languages,
        default_voice=default_voice,
        cloning=True,
        cloning_needs_transcript=not facts.dims.has_reference,
        instructions=facts.dims.is_version_2,
        quality_rank=settings.quality_rank,
        description=settings.description,
        parameters=settings.params.schema_here(),
    )
