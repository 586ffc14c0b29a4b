"""Kokoro: one stage, fixed voices, spoken segment by segment."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field, field_validator
from ray import serve
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from deployments.core.calls import Response
from deployments.core.errors import InvalidRequest, NotFound
from deployments.core.pipeline import Plan
from deployments.core.speech import AudioChunk, ModelCard, Samples, SpeechRequest, StreamEnd, Voice
from deployments.kokoro.deployment import Kokoro
from deployments.kokoro.engine import KokoroJob
from deployments.kokoro.network import SAMPLE_RATE_HZ
from deployments.kokoro.voices import LANGUAGES
from deployments.streaming.joins import silence, trim
from deployments.streaming.lookahead import in_order
from deployments.streaming.playback import Playback
from deployments.text.language import detect_language
from deployments.text.segments import Segment, split_for_streaming
from deployments.weights.registry import find_model
from serve_app import config

OPENAI_VOICES = {
    "alloy": "af_alloy",
    "ash": "am_adam",
    "ballad": "bm_fable",
    "cedar": "am_michael",
    "coral": "af_bella",
    "echo": "am_echo",
    "fable": "bm_george",
    "marin": "af_heart",
    "nova": "af_nova",
    "onyx": "am_onyx",
    "sage": "af_sarah",
    "shimmer": "af_sky",
    "verse": "am_puck",
}
NATIVE_SPEED = (0.5, 2.0)  # beyond this range the network slurs; the rest is a time stretch
CHARS_PER_S = {"zh": 4.5}  # spoken rate, to estimate when a segment will be needed
DEFAULT_CHARS_PER_S = 14.0
LEAD_S = 0.03  # silence kept before the first sound of a segment
TAIL_S = 0.05
SCRIPTS = {"LATIN", "CJK", "GREEK", "DEVANAGARI", "MODIFIER", "FEMININE", "MASCULINE", "MICRO", "FULLWIDTH"}


class KokoroSettings(config.Settings):
    """One `models` entry with `kind: kokoro`."""

    checkpoint: str = Field("kokoro", description="name to pull, see `voicegraph models ls`")
    threads: int = Field(2, ge=1, description="CPU threads of one replica")
    lookahead: int = Field(
        2, ge=0, description="segments of one request synthesised ahead of the one being sent"
    )
    max_waiting_segments: int = Field(256, ge=1)
    default_voices: dict[str, str] = Field(
        {"en": "af_heart", "zh": "zf_xiaobei"}, description="voice by language"
    )
    voice_aliases: dict[str, str] = Field(default_factory=lambda: dict(OPENAI_VOICES))
    warm_languages: tuple[str, ...] = Field(("en", "zh"), description="dictionaries loaded at start")

    @field_validator("default_voices")
    @classmethod
    def _speaks_english(cls, voices: dict[str, str]) -> dict[str, str]:
        if "en" not in voices:
            raise ValueError("a voice for 'en' is needed, which also stands in for languages without one")
        return voices


@dataclass(frozen=True, slots=True)
class _Piece:
    segment: Segment
    index: int


class Pipeline:
    Settings: ClassVar[type[config.Settings]] = KokoroSettings

    def __init__(self, name: str, settings: KokoroSettings, stages: Mapping[str, DeploymentHandle]) -> None:
        self._name = name
        self._settings = settings
        self._stage = stages["kokoro"].options(_by_reference=False)
        self._voices: dict[str, Voice] = {}

    @classmethod
    def deployments(cls, name: str, settings: KokoroSettings) -> dict[str, Any]:
        options: dict[str, Any] = {
            "name": name,
            # Waiting belongs into the engine, which orders it by deadline; Serve's own queue would be first come.
            "max_ongoing_requests": settings.max_waiting_segments + 16,
            "ray_actor_options": {"num_cpus": 0.5},
            "health_check_period_s": 2,
            "graceful_shutdown_timeout_s": 310,
            "max_surge_percent": 100,
        }
        stage = serve.deployment(**options)(Kokoro)
        arguments = (
            settings.checkpoint,
            settings.threads,
            settings.max_waiting_segments,
            list(settings.warm_languages),
        )
        return {"kokoro": stage.bind(*arguments)}

    @classmethod
    def check_files(cls, settings: KokoroSettings) -> None:
        find_model(settings.checkpoint)

    @property
    def card(self) -> ModelCard:
        return ModelCard(
            name=self._name,
            kind="kokoro",
            sample_rate_hz=SAMPLE_RATE_HZ,
            languages=tuple(dict.fromkeys(language for language, _ in LANGUAGES.values())),
            default_voice=self._settings.default_voices["en"],
            quality_rank=10,
            description="Kokoro-82M: low latency on a CPU, fixed voices",
        )

    async def voices(self) -> list[Voice]:
        if not self._voices:
            names: list[tuple[str, str, str]] = await self._stage.voices.remote()
            aliases = self._settings.voice_aliases
            self._voices = {
                name: Voice(
                    id=name,
                    name=name.split("_", 1)[1].capitalize(),
                    model=self._name,
                    language=language,
                    gender=gender,
                    aliases=tuple(alias for alias, target in aliases.items() if target == name),
                )
                for name, language, gender in names
            }
        return list(self._voices.values())

    async def ready(self) -> bool:
        return bool(await self._stage.ready.remote())

    async def plan(self, request: SpeechRequest) -> Plan:
        await self.voices()
        language = request.language or detect_language(request.text)
        voice = self._voice(request.voice, language)
        _check_scripts(request.text)
        native = min(max(request.speed, NATIVE_SPEED[0]), NATIVE_SPEED[1])
        ignored = tuple(n for n in ("quality", "emotion", "instructions") if getattr(request, n) is not None)
        return Plan(request, voice, request.speed / native, ignored=(*ignored, *sorted(request.knobs)))

    def _voice(self, wanted: str | None, language: str) -> Voice:
        """The voice named, or the one of an alias; aliases and the default follow the language of the text."""
        defaults = self._settings.default_voices
        name = self._settings.voice_aliases.get(wanted, wanted) if wanted else self._default_voice(language)
        if name not in self._voices:
            raise NotFound(
                f"voice {wanted!r} does not exist in model {self._name!r}; GET /v1/audio/voices lists all",
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

        def submit(piece: _Piece) -> Response[Samples]:
            slack_s = playback.slack_s(piece.index)
            job = KokoroJob(piece.segment.text, plan.voice.id, native, slack_s)
            response: DeploymentResponse[Samples] = self._stage.synthesise.remote(job)  # type: ignore[assignment]
            return response

        pieces = [_Piece(segment, index) for index, segment in enumerate(segments)]
        calls = in_order(pieces, submit, self._settings.lookahead)
        try:
            async for piece, samples in calls:
                last = piece.index == len(segments) - 1
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
