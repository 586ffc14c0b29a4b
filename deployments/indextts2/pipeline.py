"""IndexTTS: speaker encoder, GPT, S2Mel and vocoder as four deployments, driven segment by segment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, ClassVar

import ray
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from deployments.core import settings
from deployments.core.catalogue import ModelCard
from deployments.core.deadline import NEVER
from deployments.core.errors import SpeechError
from deployments.core.logs import RequestLogger
from deployments.core.metrics import StageMonitor
from deployments.core.pipeline import Forecast, Plan
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd
from deployments.indextts2.checkpoint import GRAPH_FILES, IndexTTSCheckpoint
from deployments.indextts2.emotion import EmotionReader
from deployments.indextts2.gpt.job import GptJob, slots_of
from deployments.indextts2.memory import stage_bytes
from deployments.indextts2.plan import CHARS_PER_S, CheckpointFacts, IndexPlan, Planner
from deployments.indextts2.sampling import Presets
from deployments.indextts2.settings import EMIT_S, IndexTTSSettings
from deployments.indextts2.speaker.job import reference_warnings
from deployments.indextts2.stages import Stages, bind_stages
from deployments.indextts2.stream.chunk_planner import ChunkPlanner
from deployments.indextts2.stream.segment import SegmentStream
from deployments.indextts2.stream.speech import SpeechStream
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.indextts2.text.segment import TextSegment
from deployments.streaming.admission import StreamAdmission
from deployments.streaming.admitted import AdmittedStreams
from deployments.streaming.crowd_cost import CrowdCost
from deployments.streaming.playback import Playback
from deployments.text.scripts import check_scripts, spoken_width
from deployments.voices.library import CloningPipeline, Outcome, VoiceLibrary
from deployments.voices.reference import Recording
from deployments.voices.registered_voice import RegisteredVoice
from deployments.voices.resolver import VoiceResolver
from deployments.voices.sharing import Share, SharedVoices
from deployments.weights.registry import locate

STOCK_FOLDER = "voices"  # of the checkpoint
TEXT_THREADS = 2
SECONDS_PER_AUDIO_S = 0.3  # all stages, before the first was measured
# Alone and in company, so that the first listeners' chunks, and how many may begin, are planned from measurements, too.
WARM_UP = "Good morning, the server is ready to speak."
WARM_UP_CROWDS = (1, 3)
WARM_UP_CODES = 150  # at most: random weights may never stop


class Pipeline(CloningPipeline):
    Settings: ClassVar[type[settings.Settings]] = IndexTTSSettings

    def __init__(
        self,
        name: str,
        settings: IndexTTSSettings,
        stages: Mapping[str, DeploymentHandle[Any]],
        *,
        facts: CheckpointFacts | None = None,
        share: Share = ray.put,
    ) -> None:
        """Reads the tokenizer and finds the voices of the checkpoint. Raises CheckpointError."""
        facts = facts or CheckpointFacts.read(settings.checkpoint)
        self.monitor = StageMonitor()
        self._settings = settings
        self._facts = facts
        self._sample_rate_hz = facts.sample_rate_hz
        self._stages = Stages(stages, self.monitor, facts.traits)
        voices = VoiceResolver(
            name,
            facts.directory / STOCK_FOLDER,
            aliases=settings.voice_aliases,
            default=settings.default_voice,
            reference_warnings=reference_warnings,
        )
        self.voices = voices.stock_cards
        self.card = _card(name, settings, facts, voices.default)
        self._shared = SharedVoices(settings.profile_ram_bytes, share)
        self._planner = Planner(
            settings, facts, self._stages, voices, self._shared, EmotionReader(self._stages)
        )
        self._speeds = StageSpeeds()
        self._admission = StreamAdmission(
            name,
            CrowdCost(SECONDS_PER_AUDIO_S),
            longest_wait_s=settings.longest_wait_s,
            rows=lambda: self._slots,
        )
        self._streams = AdmittedStreams(self._admission, facts.sample_rate_hz)
        self._default_voice = voices.default
        self._warming = False
        self._library: VoiceLibrary | None = None
        # Of its own: a slow upload or store must not delay the text of another request.
        self._text_threads = ThreadPoolExecutor(TEXT_THREADS, thread_name_prefix=f"{name}-text")

    @classmethod
    def deployments(cls, name: str, settings: IndexTTSSettings) -> dict[str, Application]:
        return bind_stages(name, settings)

    @classmethod
    def check_files(cls, settings: IndexTTSSettings) -> None:
        IndexTTSCheckpoint(locate(settings.checkpoint), vocoder=settings.vocoder.type).require(*GRAPH_FILES)

    @classmethod
    def device_bytes(cls, name: str, settings: IndexTTSSettings) -> dict[str, int]:
        files = IndexTTSCheckpoint(locate(settings.checkpoint), vocoder=settings.vocoder.type)
        return {f"{name}-{stage}": size for stage, size in stage_bytes(settings, files).items()}

    @property
    def _slots(self) -> int:
        """Of the GPT stage, as its replicas say."""
        return self.monitor.rows("gpt", otherwise=self._settings.gpt.slots)

    def forecast(self) -> Forecast:
        return self._admission.forecast()

    async def ready(self) -> bool:
        return await self._stages.ready() and not self._warming

    async def warm_up(self) -> None:
        if not self._default_voice:
            return
        self._warming = True
        try:
            await self._stages.ready()
            for crowd in WARM_UP_CROWDS:
                await asyncio.gather(*(self._speak_once(f"warm-up-{crowd}-{n}") for n in range(crowd)))
        finally:
            self._warming = False

    async def _speak_once(self, request_id: str) -> None:
        codes = min(WARM_UP_CODES, self._facts.max_codes)
        request = SpeechRequest(request_id, WARM_UP, params={"max_codes": codes})
        try:
            async with aclosing(self._spoken(await self.plan(request), at_once=True)) as events:
                async for _ in events:
                    pass
        except SpeechError as error:  # a model of random weights may have nothing to say
            RequestLogger(request_id).info("nothing was measured: %s", error)

    def use_library(self, library: VoiceLibrary) -> None:
        self._library = library

    async def prepare_voice(self, voice: RegisteredVoice) -> Outcome:
        found = await self._planner.profile(Recording.of(voice), self._voice_library)
        self._shared.shared(found.profile)
        return found.outcome

    def reference_warnings(self, duration_s: float) -> tuple[str, ...]:
        return reference_warnings(duration_s)

    async def plan(self, request: SpeechRequest) -> IndexPlan:
        # First: of a language that could be spoken with more packages it says which.
        language = request.language or self._facts.frontend.language_of(request.text)
        check_scripts(request.text, self.card.name, self.card.languages)
        return await self._planner.plan(request, self._voice_library, language)

    async def stream(self, plan: Plan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        assert isinstance(plan, IndexPlan)
        async with aclosing(self._spoken(plan)) as events:
            async for event in events:
                yield event

    def _spoken(
        self, plan: IndexPlan, *, at_once: bool = False
    ) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        """`at_once`: without waiting for a turn."""

        def make(playback: Playback) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
            return self._speech(plan, playback).events({"spk": plan.speaker_s}, plan.warnings)

        usual_s = spoken_width(plan.request.text) / CHARS_PER_S
        rows = slots_of(plan.params, self._facts.traits, streams=plan.synthesis.chunked)
        return self._streams.events(usual_s, make, rows=rows, at_once=at_once)

    def _speech(self, plan: IndexPlan, playback: Playback) -> SpeechStream:
        planner = ChunkPlanner(
            self._settings.chunks,
            plan.geometry,
            self._speeds,
            plan.prompt_frames,
            plan.params.diffusion_steps * plan.params.network_rows,
        )

        def start(index: int, text: TextSegment) -> SegmentStream:
            job = GptJob(
                request_id=plan.request.request_id,
                voice=plan.shared_voice,
                emotion=plan.emotion,
                text_ids=text.ids,
                language_id=text.language_id,
                params=plan.params,
                seed=plan.seed,
                stream=index,
                emit_codes=self._emit_codes(plan),
                code_s=plan.geometry.code_s,
                deadline=plan.request.deadline if index == 0 else NEVER,
                refusable=index == 0,
            )
            return SegmentStream(index, job, plan.synthesis, planner, self._stages, playback)

        return SpeechStream(
            self._planner.texts(plan),
            self._text_threads,
            start,
            playback,
            self._sample_rate_hz,
            self._speeds,
            at_once=self._settings.segments_at_once,
            pause_s=plan.pause_s,
            heard=plan.synthesis.chunked,
        )

    def _emit_codes(self, plan: IndexPlan) -> int:
        if not plan.synthesis.chunked:
            return 0
        return self._settings.emit_codes or max(1, round(EMIT_S / plan.geometry.code_s))

    @property
    def _voice_library(self) -> VoiceLibrary:
        if self._library is None:
            raise RuntimeError("use_library must be called before the first request")
        return self._library


def _card(name: str, settings: IndexTTSSettings, facts: CheckpointFacts, default_voice: str) -> ModelCard:
    schema = settings.presets.named(settings.quality).schema_here()
    for parameter, most in facts.limits().items():
        _bound(schema["properties"][parameter], most)
    presets = dict.fromkeys((settings.quality, *Presets.model_fields))
    return ModelCard(
        name=name,
        kind="indextts2",
        sample_rate_hz=facts.sample_rate_hz,
        languages=facts.languages,
        default_voice=default_voice,
        cloning=True,
        emotion=True,
        instructions=facts.reads_emotion,
        quality_rank=settings.quality_rank,
        description=settings.description
        or f"{facts.traits.name}: clones a voice from seconds of speech, with control of the emotion",
        presets=tuple(presets),
        parameters=schema,
    )


def _bound(schema: dict[str, Any], most: int) -> None:
    """State the checkpoint's limit where the class can only state a general one."""
    for kind in schema.get("anyOf", [schema]):
        if kind.get("type") == "integer":
            kind["maximum"] = most
    if schema["default"] is not None:
        schema["default"] = min(schema["default"], most)
