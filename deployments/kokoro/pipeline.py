"""Kokoro: one stage, fixed voices, spoken segment by segment."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from deployments.core import pipeline, settings
from deployments.core.catalogue import ModelCard, VoiceCard
from deployments.core.deadline import NEVER
from deployments.core.errors import InvalidRequest, NotFound
from deployments.core.metrics import Reply, StageMonitor
from deployments.core.pipeline import Plan
from deployments.core.ray_internals import by_value
from deployments.core.speech import AudioChunk, Samples, SpeechRequest, StreamEnd
from deployments.core.stages import Response, Stage
from deployments.kokoro.job import SAMPLE_RATE_HZ, KokoroJob, Params
from deployments.kokoro.settings import KokoroSettings
from deployments.kokoro.voices import LANGUAGES, expected_voices
from deployments.streaming.joins import silence, trim
from deployments.streaming.playback import Playback
from deployments.streaming.read_ahead import in_order
from deployments.text.language import detect_language
from deployments.text.segments import Segment, split_for_streaming
from deployments.weights.registry import find_model

NATIVE_SPEED = (0.5, 2.0)  # beyond this range the network slurs; the rest is a time stretch
CHARS_PER_S = {"zh": 4.5}  # spoken rate, to estimate when a segment will be needed
DEFAULT_CHARS_PER_S = 14.0
LEAD_S = 0.03  # silence kept before the first sound of a segment
TAIL_S = 0.05
SCRIPTS = {"LATIN", "CJK", "GREEK", "DEVANAGARI", "MODIFIER", "FEMININE", "MASCULINE", "MICRO", "FULLWIDTH"}


@dataclass(frozen=True, slots=True)
class _Piece:
    segment: Segment
    index: int


class Pipeline(pipeline.Pipeline):
    Settings: ClassVar[type[settings.Settings]] = KokoroSettings

    def __init__(
        self, name: str, settings: KokoroSettings, stages: Mapping[str, DeploymentHandle[Any]]
    ) -> None:
        self.monitor = StageMonitor()
        self._settings = settings
        self._stage = by_value(stages["kokoro"])
        aliases = settings.voice_aliases
        self._voices = {
            voice.name: VoiceCard(
                id=voice.name,
                name=voice.name.split("_", 1)[1].capitalize(),
                model=name,
                language=voice.language,
                gender=voice.gender,
                aliases=tuple(alias for alias, target in aliases.items() if target == voice.name),
            )
            for voice in expected_voices(settings.checkpoint).values()
        }
        self.voices = tuple(self._voices.values())
        self.card = ModelCard(
            name=name,
            kind="kokoro",
            sample_rate_hz=SAMPLE_RATE_HZ,
            languages=tuple(dict.fromkeys(language for language, _ in LANGUAGES.values())),
            default_voice=settings.default_voices["en"],
            quality_rank=10,
            description="Kokoro-82M: low latency on a CPU, fixed voices",
            parameters=Params().schema_here(),
        )

    @classmethod
    def deployments(cls, name: str, settings: KokoroSettings) -> dict[str, Application]:
        stage = Stage("deployments.kokoro.deployment.Kokoro", {"settings": settings})
        return {"kokoro": stage.bind(name)}

    @classmethod
    def check_files(cls, settings: KokoroSettings) -> None:
        find_model(settings.checkpoint)

    @property
    def capacity(self) -> int:
        return self.monitor.rows("kokoro", otherwise=1)

    async def ready(self) -> bool:
        return bool(await self._stage.ready.remote())

    async def plan(self, request: SpeechRequest) -> Plan:
        language = request.language or detect_language(request.text)
        voice = self._voice(request.voice, language)
        _check_scripts(request.text)
        native = min(max(request.speed, NATIVE_SPEED[0]), NATIVE_SPEED[1])
        ignored = tuple(n for n in ("quality", "emotion", "instructions") if getattr(request, n) is not None)
        return Plan(
            request, voice, request.speed / native, ignored=(*ignored, *Params.unknown(request.params))
        )

    def _voice(self, wanted: str | None, language: str) -> VoiceCard:
        """The voice named, or the one of an alias; aliases and the default follow the language of the text."""
        defaults = self._settings.default_voices
        name = self._settings.voice_aliases.get(wanted, wanted) if wanted else self._default_voice(language)
        if name not in self._voices:
            raise NotFound(
                f"voice {wanted!r} does not exist in model {self.card.name!r}; GET /v1/audio/voices lists all",
                param="voice",
                code="voice_not_found",
            )
        voice = self._voices[name]
        if language != "zh" or voice.language == "zh":
            return voice
        same = [v for v in self._voices.values() if v.language == "zh" and v.gender == voice.gender]
        if wanted == name or not same:
            examples = ", ".join(v.id for v in self._voices.values() if v.language == "zh")
            raise InvalidRequest(
                f"voice {name!r} does not speak Chinese; voices that do: {examples}", param="voice"
            )
        return next((v for v in same if v.id == defaults.get("zh")), same[0])

    def _default_voice(self, language: str) -> str:
        """The configured voice of a language, else any that speaks it, else the English one."""
        defaults = self._settings.default_voices
        speaks = (voice.id for voice in self._voices.values() if voice.language == language)
        return defaults.get(language) or next(speaks, defaults["en"])

    async def stream(self, plan: Plan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        started = time.monotonic()
        segments = split_for_streaming(plan.request.text)
        native = plan.request.speed / plan.tempo
        rate = CHARS_PER_S.get(plan.voice.language, DEFAULT_CHARS_PER_S) * native
        playback = Playback()
        for index, segment in enumerate(segments):
            playback.expect(index, len(segment.text) / rate)

        def submit(piece: _Piece) -> Response[Reply[Samples]]:
            first = piece.index == 0
            job = KokoroJob(
                piece.segment.text,
                plan.voice.id,
                native,
                slack_s=playback.slack_s(piece.index),
                request_id=plan.request.request_id,
                deadline=plan.request.deadline if first else NEVER,
                refusable=first,
            )
            response: Response[Reply[Samples]] = self._stage.synthesise.remote(job)
            return response

        pieces = [_Piece(segment, index) for index, segment in enumerate(segments)]
        calls = in_order(pieces, submit, self._settings.lookahead)
        try:
            async for piece, reply in calls:
                last = piece.index == len(segments) - 1
                samples = self.monitor.heard("kokoro", reply)
                audio = trim(samples, SAMPLE_RATE_HZ, keep_lead_s=LEAD_S, keep_tail_s=TAIL_S)
                playback.sent(piece.index, len(audio) / SAMPLE_RATE_HZ)
                playback.complete(piece.index)
                yield AudioChunk(audio, piece.index)
                if not last and (pause_s := _pause_s(plan, piece.segment, native)) > 0:
                    pause = silence(pause_s, SAMPLE_RATE_HZ)
                    playback.sent(piece.index, len(pause) / SAMPLE_RATE_HZ)
                    yield AudioChunk(pause, piece.index)
        finally:
            await calls.aclose()
        yield StreamEnd(playback.audio_s, {"kokoro": time.monotonic() - started})


def _pause_s(plan: Plan, segment: Segment, native: float) -> float:
    """Silence to insert. Natural pauses shrink with the speed; one that was asked for is to last as long in the end."""
    if plan.request.pause_ms is None:
        return segment.pause_after_s / native
    return plan.request.pause_ms / 1000 * plan.tempo


def _check_scripts(text: str) -> None:
    foreign = {c for c in text if c.isalpha() and unicodedata.name(c, "UNKNOWN").split()[0] not in SCRIPTS}
    if foreign:
        shown = "".join(sorted(foreign)[:10])
        raise InvalidRequest(
            f"kokoro cannot speak these characters: {shown!r}; it speaks Latin and Devanagari script and Chinese",
            param="input",
            code="unsupported_characters",
        )
