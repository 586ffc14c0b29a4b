"""Kokoro: one stage, fixed voices, spoken segment by segment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, cast

import numpy as np
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from deployments.core import pipeline, settings
from deployments.core.catalogue import ModelCard, VoiceCard
from deployments.core.deadline import NEVER
from deployments.core.errors import InvalidRequest, NotFound
from deployments.core.metrics import Reply, StageMonitor
from deployments.core.pipeline import Forecast, Plan
from deployments.core.ray_internals import by_value
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd
from deployments.core.stages import Response, Stage, answer, answer_again
from deployments.kokoro.job import DEFAULT_CHARS_PER_S, SAMPLE_RATE_HZ, UNSPEAKABLE, KokoroJob, Params, Spoken
from deployments.kokoro.settings import KokoroSettings
from deployments.kokoro.voices import LANGUAGES, expected_voices
from deployments.streaming.cost import LearntPace, Pace, PieceCost
from deployments.streaming.joins import silence, trim
from deployments.streaming.pieces import PieceLimits, PiecePlanner, Pieces, SeededPieces
from deployments.streaming.playback import Playback
from deployments.streaming.read_ahead import ReadAhead
from deployments.streaming.scheduler import ScheduledStream, Scheduler
from deployments.streaming.turns import refuse_long_wait
from deployments.text.check import check_length
from deployments.text.cuts import CutText, Segment
from deployments.text.english.normalizer import normalize_english
from deployments.text.language import script_language
from deployments.text.language_names import english_name
from deployments.text.pauses import between_pauses
from deployments.text.scripts import check_scripts
from deployments.weights.registry import find_model

NATIVE_SPEED = (0.5, 2.0)  # beyond this range the network slurs; the rest is a time stretch
LIMITS = PieceLimits()
# Of a machine with two slow cores, where requests with a seed play without a gap, too.
NOMINAL = Pace(PieceCost(0.45, 0.6), PieceCost(0.0, 1.0))
LEAD_S = 0.03  # silence kept before the first sound of a segment
TAIL_S = 0.05


class Pipeline(pipeline.Pipeline):
    Settings: ClassVar[type[settings.Settings]] = KokoroSettings

    def __init__(
        self, name: str, settings: KokoroSettings, stages: Mapping[str, DeploymentHandle[Any]]
    ) -> None:
        self.monitor = StageMonitor()
        self._settings = settings
        self._stage = by_value(stages["kokoro"])
        self._learnt: dict[str, LearntPace] = {}  # by language: they are spoken at different rates
        # Of its own: a slow upload or store must not delay the text of another request.
        self._text_threads = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-text")
        self._scheduler = Scheduler(lambda: self._pace, lambda: self._places)
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
    def _places(self) -> int:
        return self.monitor.replicas("kokoro")

    @property
    def _pace(self) -> Pace:
        """Of the language that is spoken most; there is one as soon as a request is planned."""
        return max(self._learnt.values(), key=lambda learnt: learnt.pieces).pace

    async def ready(self) -> bool:
        return bool(await self._stage.ready.remote())

    def forecast(self) -> Forecast | None:
        return self._scheduler.forecast(self._settings.longest_wait_s) if self._learnt else None

    async def warm_up(self) -> None:
        await self._learn(self._voices[self.card.default_voice].language)

    async def _learn(self, language: str) -> None:
        """What the stage measured when it started is where the pace of a language begins."""
        measured: Pace = await answer(self._stage.pace.remote())
        self._learnt.setdefault(language, LearntPace(measured))

    async def plan(self, request: SpeechRequest) -> Plan:
        voice = self._voice(request.voice, request.language or script_language(request.text))
        check_scripts(request.text, self.card.name, self.card.languages)
        if voice.language not in self._learnt:
            await self._learn(voice.language)
        native = min(max(request.speed, NATIVE_SPEED[0]), NATIVE_SPEED[1])
        ignored = tuple(n for n in ("quality", "emotion", "instructions") if getattr(request, n) is not None)
        return Plan(
            request, voice, request.speed / native, ignored=(*ignored, *Params.unknown(request.params))
        )

    def _voice(self, wanted: str | None, language: str | None) -> VoiceCard:
        """The voice named, or the one of an alias; aliases and the default follow the language.

        `language` is None where it cannot be told from a text: then every voice may speak it.
        """
        if not wanted:
            return self._voices[self._default_voice(language or "en")]
        name = self._settings.voice_aliases.get(wanted, wanted)
        if name not in self._voices:
            raise NotFound(
                f"voice {wanted!r} does not exist in model {self.card.name!r}; GET /v1/audio/voices lists all",
                param="voice",
                code="voice_not_found",
            )
        voice = self._voices[name]
        if language is None or voice.language == language:
            return voice
        speakers = [other for other in self._voices.values() if other.language == language]
        if wanted == name or not speakers:
            examples = ", ".join(other.id for other in speakers) or "none"
            raise InvalidRequest(
                f"voice {name!r} does not speak {english_name(language)}; voices that do: {examples}",
                param="voice",
            )
        usual = self._settings.default_voices.get(language)
        return min(speakers, key=lambda other: (other.gender != voice.gender, other.id != usual))

    def _default_voice(self, language: str) -> str:
        """The configured voice of a language, else any that speaks it, else the English one."""
        defaults = self._settings.default_voices
        speaks = (voice.id for voice in self._voices.values() if voice.language == language)
        return defaults.get(language) or next(speaks, defaults["en"])

    async def stream(self, plan: Plan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        spent_s = {"queue": 0.0, "kokoro": 0.0}
        playback = Playback()
        audio_s = 0.0
        warnings: list[str] = []
        # Work goes on however slowly a client takes the audio: the place at the stage belongs to everybody.
        made = ReadAhead(self._made(plan, playback, warnings, spent_s))
        try:
            async for chunk in made:
                audio_s += len(chunk.samples) / SAMPLE_RATE_HZ
                yield chunk
        finally:
            await made.aclose()
        yield StreamEnd(audio_s, spent_s, tuple(warnings))

    async def _made(
        self, plan: Plan, playback: Playback, warnings: list[str], spent_s: dict[str, float]
    ) -> AsyncGenerator[AudioChunk, None]:
        """`spent_s`: on waiting for a turn, and on the stage; counted on while the audio is made."""
        native = plan.request.speed / plan.tempo
        learnt = self._learnt[plan.voice.language]
        # Not on the event loop: a long text without punctuation has thousands of places where it may be cut.
        pieces, first_units = await asyncio.get_running_loop().run_in_executor(
            self._text_threads, _pieces, plan, native, learnt.pace, self._settings.longest_audio_s
        )
        stream = ScheduledStream(playback, lambda: pieces.rest_s, learnt.expected(first_units))
        refuse_long_wait(self.card.name, self._scheduler.wait_s(stream), self._settings.longest_wait_s)
        with self._scheduler.joined(stream):
            index, speaks = 0, False
            turn = self._scheduler.ask(stream)
            while True:
                asked_s = time.monotonic()
                alone = (await turn).alone
                began_s = time.monotonic()
                if index == 0:  # later turns come when the listener needs them
                    spent_s["queue"] = began_s - asked_s
                available_s = None if index == 0 else self._scheduler.available_s(stream)
                segment, units = pieces.take(learnt.pace.of_turn(alone=alone), available_s)
                self._scheduler.working(stream, *learnt.expected(units, alone=alone))
                job = _job(plan, segment, native, playback.slack_s(index), first=index == 0, alone=alone)
                last = pieces.finished
                try:
                    spoken = self.monitor.heard("kokoro", await self._synthesised(job))
                except InvalidRequest as error:
                    spent_s["kokoro"] += time.monotonic() - began_s
                    if error.code != UNSPEAKABLE or (last and not speaks):
                        raise
                    # One sign without a reading must not end a long text.
                    warnings.append(f"{error.message}; it is left out")
                    audio = silence(0.0, SAMPLE_RATE_HZ)
                else:
                    spent_s["kokoro"] += time.monotonic() - began_s
                    speaks = True
                    audio = trim(spoken.samples, SAMPLE_RATE_HZ, keep_lead_s=LEAD_S, keep_tail_s=TAIL_S)
                    learnt.observe(units, spoken.work_s, len(audio) / SAMPLE_RATE_HZ, alone=alone)
                    if segment.lead_s > 0:
                        audio = np.concatenate([silence(segment.lead_s * plan.tempo, SAMPLE_RATE_HZ), audio])
                pause_s = _pause_s(plan, segment, native) if speaks else 0.0
                playback.sent(index, (len(audio) / SAMPLE_RATE_HZ + pause_s) / plan.tempo)
                if not last:
                    turn = self._scheduler.ask(stream)
                if len(audio):
                    yield AudioChunk(audio, index, dict(spent_s))
                if pause_s > 0:
                    yield AudioChunk(silence(pause_s, SAMPLE_RATE_HZ), index)
                if last:
                    return
                index += 1

    async def _synthesised(self, job: KokoroJob) -> Reply[Spoken]:
        def call() -> Response[Reply[Spoken]]:
            return cast(Response[Reply[Spoken]], self._stage.synthesise.remote(job))

        return await answer_again(call(), call)


def _pieces(plan: Plan, native: float, pace: Pace, longest_s: float) -> tuple[Pieces, float]:
    """The text to be cut, and the expected length of its first piece. Raises InvalidRequest where it is too long.

    A request with a seed is the same at any load: what it is cut into depends on the text alone.
    """
    seeded = plan.request.seed is not None
    # Before it is cut: the points and quotes of "5.30 p.m." and 5'10" end nothing.
    text = plan.request.text
    if plan.voice.language == "en":
        text = between_pauses(text, normalize_english)
    check_length(text, chars_per_s=DEFAULT_CHARS_PER_S, longest_s=longest_s)
    planner = PiecePlanner(
        CutText(text, max_chars=LIMITS.max_width),
        1 / (DEFAULT_CHARS_PER_S * native),
        pause_s=lambda natural_s: _natural_pause_s(plan, natural_s, native),
        heard=plan.request.stream or seeded,
        limits=LIMITS,
    )
    pieces = SeededPieces(planner, NOMINAL) if seeded else planner
    return pieces, pieces.first_units(pace)


def _job(
    plan: Plan, segment: Segment, native: float, slack_s: float, *, first: bool, alone: bool
) -> KokoroJob:
    return KokoroJob(
        segment.text,
        plan.voice.id,
        native,
        slack_s=slack_s,
        request_id=plan.request.request_id,
        deadline=plan.request.deadline if first else NEVER,
        refusable=first,
        alone=alone,
    )


def _pause_s(plan: Plan, segment: Segment, native: float) -> float:
    """Silence to insert after a segment. Natural pauses shrink with the speed; one that was asked for, by the text or
    by `pause_ms`, is to last as long in the end."""
    if segment.pause_asked:
        return segment.pause_after_s * plan.tempo
    return _natural_pause_s(plan, segment.pause_after_s, native)


def _natural_pause_s(plan: Plan, natural_s: float, native: float) -> float:
    """What becomes of the pause that belongs to a mark.

    Where there is none by nature, inside a clause, there is none: where a clause is cut depends on the load.
    """
    if plan.request.pause_ms is None or natural_s == 0:
        return natural_s / native
    return plan.request.pause_ms / 1000 * plan.tempo
