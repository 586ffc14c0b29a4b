"""A request as an IndexTTS model will run it: parameters, voice and emotion settled before the GPT starts."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deployments.core.errors import InvalidRequest
from deployments.core.pipeline import Plan
from deployments.core.speech import Emotion, SpeechRequest
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.emotion import EmotionReader, EmotionReading
from deployments.indextts2.sampling import Params
from deployments.indextts2.settings import IndexTTSSettings
from deployments.indextts2.speaker.job import EncodeJob
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.stream.segment import Synthesis
from deployments.indextts2.text.loading import Frontend, load_frontend
from deployments.indextts2.text.segment import TextSegment
from deployments.indextts2.traits import Traits
from deployments.text.check import check_length
from deployments.text.pauses import Stretch, stretches
from deployments.voices.library import ProfileFound, VoiceLibrary
from deployments.voices.profile import EncodedProfile
from deployments.voices.reference import Recording, ReferenceAudio
from deployments.voices.resolver import VoiceResolver
from deployments.voices.sharing import SharedVoice, SharedVoices
from deployments.weights.registry import locate

MODEL_KIND = "indextts"  # in the keys of stored profiles, which the version of the weights tells apart
INSTRUCTIONS_UNUSABLE = ("emotion_text_unavailable", "emotion_text_unclear")
SEED_BITS = 48
CHARS_PER_S = 14.0  # of Latin script, about, in any voice
SLOWEST, FASTEST = (
    0.5,
    2.0,
)  # speeds that a model which stretches can speak at by itself (indextts2.5-delta.md 6)


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """What planning knows of a checkpoint: its tokenizer and a few numbers. The weights are the stages' business."""

    directory: Path
    frontend: Frontend
    sample_rate_hz: int
    traits: Traits
    max_text_tokens: int  # of a segment
    max_codes: int  # of a segment
    reads_emotion: bool = False  # from words: the classifier is there

    @staticmethod
    def read(checkpoint: str) -> CheckpointFacts:
        """`checkpoint`: a name to pull, or a path. Raises CheckpointError."""
        files = IndexTTSCheckpoint(locate(checkpoint))
        return CheckpointFacts(
            directory=files.directory,
            frontend=load_frontend(files),
            sample_rate_hz=int(files.section("s2mel", "preprocess_params")["sr"]),
            traits=files.traits,
            # The published segmentation may repeat a closing quote, which makes a segment one token longer.
            max_text_tokens=files.gpt_dims.max_text_tokens - 1,
            max_codes=files.gpt_dims.max_mel_tokens - 1,
            reads_emotion=not files.missing("emotion_text"),
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1"""
        return self.frontend.languages

    def limits(self) -> dict[str, int]:
        """The largest values of the parameters that the checkpoint bounds."""
        return {"max_codes": self.max_codes, "max_text_tokens_per_segment": self.max_text_tokens}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPlan(Plan):
    language: str
    shared_voice: SharedVoice
    geometry: Geometry
    prompt_frames: int
    emotion: npt.NDArray[np.float32]  # (D,)
    params: Params
    synthesis: Synthesis
    seed: int
    pause_s: float
    speaker_s: float  # spent on voice and emotion


class PlanningStages(Protocol):
    """What planning asks of the stages."""

    def encode(self, job: EncodeJob) -> Awaitable[EncodedProfile]: ...

    def model_version(self) -> Awaitable[str]: ...

    def geometry(self) -> Awaitable[Geometry]: ...


class Planner:
    """Makes the plans of one model's requests."""

    def __init__(
        self,
        settings: IndexTTSSettings,
        facts: CheckpointFacts,
        stages: PlanningStages,
        voices: VoiceResolver,
        shared: SharedVoices,
        emotions: EmotionReader,
    ) -> None:
        self._settings = settings
        self._facts = facts
        self._stages = stages
        self._voices = voices
        self._shared = shared
        self._emotions = emotions

    def params(self, request: SpeechRequest) -> Params:
        """The preset with the request's parameters put in, within the limits of the checkpoint.

        Defaults give way to the limits; a request that asks for more is refused: InvalidRequest says what is allowed.
        """
        settings = self._settings
        params = settings.presets.named(request.quality or settings.quality).changed(request.params)
        tokens = params.max_text_tokens_per_segment or settings.max_text_tokens_per_segment
        values = {"max_codes": params.max_codes, "max_text_tokens_per_segment": tokens}
        for name, most in self._facts.limits().items():
            if values[name] > most and request.params.get(name) is not None:
                raise InvalidRequest(
                    f"{name} must be at most {most} with this model, not {values[name]}", param=name
                )
            values[name] = min(values[name], most)
        return params.model_copy(update=values)

    def streams(self, request: SpeechRequest, params: Params) -> bool:
        """Whether audio of a segment is made before all its codes are there."""
        return request.stream and not params.whole_segments

    async def plan(self, request: SpeechRequest, library: VoiceLibrary, language: str) -> IndexPlan:
        """`language`: of the text. Raises SpeechError: bad parameters, an unknown voice, what encoding raises."""
        settings, began_s = self._settings, time.monotonic()
        params = self.params(request)
        voice = await self._voices.resolve(request, library)
        seeded = request.seed if request.seed is not None else settings.seed
        seed = secrets.randbits(SEED_BITS) if seeded is None else seeded
        # One after the other: where the voice is refused, the emotion must not be left computing.
        found = await self.profile(voice.recording, library, request)
        reading, unused = await self._read_emotion(request)
        profile = found.profile
        pause_ms = settings.pause_ms if request.pause_ms is None else request.pause_ms
        unknown = Params.unknown(request.params)
        own_speed = self._own_speed(request.speed)
        geometry = await self._stages.geometry()
        return IndexPlan(
            request,
            voice.card,
            tempo=request.speed / own_speed,
            voice_cache="miss" if found.outcome == "miss" else "hit",
            ignored=(*unknown, *unused, *(["ref_text"] if request.reference_text is not None else [])),
            language=language,
            shared_voice=self._shared.shared(profile),
            geometry=geometry if own_speed == 1 else geometry.stretched(1 / own_speed),
            prompt_frames=profile["mel"].shape[1],
            emotion=await self._emotions.vector(reading, profile, seed),
            params=params,
            synthesis=Synthesis(
                key=uuid.uuid4().hex,
                mel_bands=profile["mel"].shape[0],
                chunked=self.streams(request, params),
                by_deadline=seeded is None,
            ),
            seed=seed,
            pause_s=pause_ms / 1000,
            warnings=(*voice.warnings, *reading.warnings),
            speaker_s=time.monotonic() - began_s,
        )

    def _own_speed(self, speed: float) -> float:
        """What of `speed` the model does; the rest is left for a time stretch after synthesis."""
        return min(max(speed, SLOWEST), FASTEST) if self._facts.traits.stretches else 1.0

    async def profile(
        self, recording: Recording, library: VoiceLibrary, request: SpeechRequest | None = None
    ) -> ProfileFound:
        """What this model makes of a recording, for a request or ahead of any."""
        encode = partial(self._encode, request.request_id if request else "")
        more: dict[str, Any] = {"deadline": request.deadline} if request else {}
        version = await self._stages.model_version()
        return await library.profile(recording, MODEL_KIND, version, encode, **more)

    def texts(self, plan: IndexPlan) -> Iterator[TextSegment]:
        """Segments of the text, made while they are consumed; whole segments are read and cut exactly as published,
        save where the text asks for a pause.

        Raises InvalidRequest where the text takes too long to speak.
        """
        longest_s = self._settings.longest_audio_s
        check_length(plan.request.text, chars_per_s=CHARS_PER_S, longest_s=longest_s)
        frontend, most = self._facts.frontend, plan.params.max_text_tokens_per_segment
        assert most is not None
        for stretch in stretches(plan.request.text):
            cut: Iterable[TextSegment]
            if plan.params.whole_segments:
                cut = frontend.published(stretch.text, most, language=plan.language)
            else:
                cut = frontend.iter_segments(stretch.text, most, language=plan.language)
            yield from _with_pauses(iter(cut), stretch, plan.tempo)

    async def _encode(self, request_id: str, recording: ReferenceAudio) -> EncodedProfile:
        # No deadline: others may wait for the same profile, and the next request will want it.
        return await self._stages.encode(EncodeJob(request_id, recording))

    async def _read_emotion(self, request: SpeechRequest) -> tuple[EmotionReading, tuple[str, ...]]:
        """The emotion, and which field of the request could not be used for it."""
        read: Callable[[Emotion | None], Awaitable[EmotionReading]] = partial(
            self._emotions.read, request_id=request.request_id, deadline=request.deadline
        )
        words = request.instructions
        if request.emotion is not None:
            return await read(request.emotion), () if words is None else ("instructions",)
        if words is None or not words.strip():
            return EmotionReading(), ()
        try:
            return await read(Emotion(text=words)), ()
        except InvalidRequest as error:
            # Clients send instructions to whatever model; a strength of another model is no reason to refuse them.
            if error.code not in INSTRUCTIONS_UNUSABLE:
                raise
            return EmotionReading(), ("instructions",)


def _with_pauses(segments: Iterator[TextSegment], stretch: Stretch, tempo: float) -> Iterator[TextSegment]:
    """Segments of one stretch with its pauses, which last as long when the audio is played at `tempo`."""
    first = next(segments, None)
    if first is None:
        return
    segment = replace(first, lead_s=stretch.lead_s * tempo)
    if stretch.pause_s is None:
        yield segment
        yield from segments  # none is held back to see whether it is the last
        return
    for following in segments:
        yield segment
        segment = following
    yield replace(segment, pause_after_s=stretch.pause_s * tempo)
