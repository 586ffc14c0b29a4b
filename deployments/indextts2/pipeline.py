"""IndexTTS2: speaker encoder, GPT, S2Mel and vocoder as four deployments, driven segment by segment."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar

import ray
from ray.serve.handle import DeploymentHandle

from deployments.core.errors import InvalidRequest
from deployments.core.speech import AudioChunk, Emotion, ModelCard, SpeechRequest, StreamEnd, Voice
from deployments.indextts2.emotion import EmotionReading, check_emotion, mix_emotion, read_emotion
from deployments.indextts2.gpt.job import GptJob
from deployments.indextts2.graph import bind_stages
from deployments.indextts2.local_files import LocalFiles, check_graph_files
from deployments.indextts2.plan import IndexPlan
from deployments.indextts2.presets import resolve_controls
from deployments.indextts2.settings import IndexTTSSettings
from deployments.indextts2.speaker.service import reference_warnings
from deployments.indextts2.stages import Stages
from deployments.indextts2.stream.chunk_planner import ChunkPlanner
from deployments.indextts2.stream.segment_stream import SegmentStream, Synthesis
from deployments.indextts2.stream.speech import Speech
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.indextts2.stream.texts import text_segments
from deployments.indextts2.text.frontend import TextSegment
from deployments.indextts2.voices import Resolved, Voices
from deployments.streaming.playback import Playback
from deployments.voices.library import Outcome, VoiceLibrary
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio
from deployments.voices.sharing import Share, Tickets
from deployments.voices.voice import Voice as RegisteredVoice
from serve_app import config

INSTRUCTIONS_UNUSABLE = ("emotion_text_unavailable", "emotion_text_unclear")
SEED_BITS = 48


class Pipeline:
    Settings: ClassVar[type[config.Settings]] = IndexTTSSettings

    def __init__(
        self,
        name: str,
        settings: IndexTTSSettings,
        stages: Mapping[str, DeploymentHandle],
        *,
        files: LocalFiles | None = None,
        share: Share = ray.put,
    ) -> None:
        """Reads the tokenizer and finds the voices of the checkpoint. Raises CheckpointError."""
        self._name = name
        self._settings = settings
        self._stages = Stages(stages)
        self._files = files or LocalFiles.load(settings.checkpoint)
        self._voices = Voices(name, self._files.directory, settings.voice_aliases, settings.default_voice)
        self._tickets = Tickets(settings.profile_ram_bytes, share)
        self._speeds = StageSpeeds()
        self._library: VoiceLibrary | None = None

    @classmethod
    def deployments(cls, name: str, settings: IndexTTSSettings) -> dict[str, Any]:
        return bind_stages(name, settings)

    @classmethod
    def check_files(cls, settings: IndexTTSSettings) -> None:
        check_graph_files(settings.checkpoint, settings.vocoder.type)

    @property
    def card(self) -> ModelCard:
        return ModelCard(
            name=self._name,
            kind="indextts2",
            sample_rate_hz=self._files.sample_rate_hz,
            languages=("zh", "en"),
            default_voice=self._voices.default,
            cloning=True,
            emotion=True,
            quality_rank=self._settings.quality_rank,
            description=self._settings.description,
        )

    async def voices(self) -> list[Voice]:
        return self._voices.stock

    async def ready(self) -> bool:
        return await self._stages.ready()

    def use_library(self, library: VoiceLibrary) -> None:
        self._library = library

    async def prepare_voice(self, voice: RegisteredVoice) -> Outcome:
        profile, outcome = await self._profile(voice)
        self._tickets.ticket(profile)
        return outcome

    def reference_warnings(self, duration_s: float) -> tuple[str, ...]:
        return reference_warnings(duration_s)

    async def plan(self, request: SpeechRequest) -> IndexPlan:
        settings, began = self._settings, time.monotonic()
        preset = settings.presets.named(request.quality or settings.quality)
        controls, ignored = resolve_controls(
            preset,
            request.knobs,
            max_text_tokens=settings.max_text_tokens_per_segment,
            text_limit=self._files.max_text_tokens,
            codes_limit=self._files.max_codes,
        )
        if request.emotion is not None:
            check_emotion(request.emotion)
        resolved = await self._voices.resolve(request, self._voice_library)
        seeded = request.seed if request.seed is not None else settings.seed
        seed = secrets.randbits(SEED_BITS) if seeded is None else seeded
        # One after the other: where the voice is refused, the emotion must not be left computing.
        profile, outcome = await self._profile(resolved)
        reading, unused = await self._read_emotion(request)
        matrix = await self._stages.emotion_matrix() if reading.weights is not None else None
        pause_ms = settings.pause_ms if request.pause_ms is None else request.pause_ms
        return IndexPlan(
            request,
            resolved.voice,
            tempo=request.speed,
            voice_cache="miss" if outcome == "miss" else "hit",
            ignored=(*ignored, *unused, *(["ref_text"] if request.reference_text is not None else [])),
            ticket=self._tickets.ticket(profile),
            prompt_frames=profile["mel"].shape[1],
            emotion=mix_emotion(reading, profile, matrix, seed),
            sampling=controls.sampling,
            synthesis=Synthesis(
                steps=controls.steps,
                guidance=controls.guidance,
                chunked=request.stream and not controls.whole_segments,
                mel_bands=profile["mel"].shape[0],
                by_deadline=seeded is None,
            ),
            max_text_tokens=controls.max_text_tokens,
            published_text=controls.whole_segments,
            seed=seed,
            pause_s=pause_ms / 1000,
            warnings=self._warnings(resolved),
            speaker_s=time.monotonic() - began,
        )

    async def stream(self, plan: IndexPlan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        geometry = await self._stages.geometry()
        playback = Playback()
        planner = ChunkPlanner(
            self._settings.chunks,
            geometry,
            self._speeds,
            plan.prompt_frames,
            plan.synthesis.steps * plan.synthesis.rows,
        )

        def start(index: int, text: TextSegment) -> SegmentStream:
            job = GptJob(
                voice=plan.ticket,
                emotion=plan.emotion,
                text_ids=text.ids,
                sampling=plan.sampling,
                seed=plan.seed,
                stream=index,
                emit_codes=self._settings.emit_codes if plan.synthesis.chunked else 0,
            )
            return SegmentStream(index, job, plan.synthesis, planner, self._stages, playback)

        texts = text_segments(
            self._files.frontend,
            plan.request.text,
            max_tokens=plan.max_text_tokens,
            published=plan.published_text,
        )
        speech = Speech(
            texts,
            start,
            playback,
            geometry,
            self._speeds,
            at_once=self._settings.segments_at_once,
            pause_s=plan.pause_s,
        )
        async with aclosing(speech.events()) as events:
            async for event in events:
                if isinstance(event, AudioChunk):
                    yield event
                    continue
                stage_s = {"spk": plan.speaker_s, **event.stage_s}
                yield replace(event, stage_s=stage_s, warnings=(*plan.warnings, *event.warnings))

    async def _profile(self, source: Resolved | RegisteredVoice) -> tuple[VoiceProfile, Outcome]:
        version = await self._stages.model_version()
        return await self._voices.profile(source, self._voice_library, version, self._stages.encode)

    async def _read_emotion(self, request: SpeechRequest) -> tuple[EmotionReading, tuple[str, ...]]:
        """The emotion, and which field of the request could not be used for it."""
        if request.emotion is not None:
            unused = () if request.instructions is None else ("instructions",)
            return await read_emotion(request.emotion, self._stages), unused
        if request.instructions is None or not request.instructions.strip():
            return EmotionReading(), ()
        try:
            return await read_emotion(Emotion(text=request.instructions), self._stages), ()
        except InvalidRequest as error:
            # Clients send instructions to whatever model; a strength of another model is no reason to refuse them.
            if error.code not in INSTRUCTIONS_UNUSABLE:
                raise
            return EmotionReading(), ("instructions",)

    def _warnings(self, resolved: Resolved) -> tuple[str, ...]:
        if resolved.stock or not isinstance(resolved.source, ReferenceAudio):
            return ()
        return (*resolved.source.warnings, *reference_warnings(resolved.source.duration_s))

    @property
    def _voice_library(self) -> VoiceLibrary:
        if self._library is None:
            raise RuntimeError("use_library must be called before the first request")
        return self._library
