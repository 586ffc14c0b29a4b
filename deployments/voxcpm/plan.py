"""A request as VoxCPM will run it: parameters, voice and what is taken of it settled before the engine starts."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from deployments.core.catalogue import ANY_LANGUAGE, VoiceCard
from deployments.core.errors import InvalidRequest
from deployments.core.pipeline import Plan
from deployments.core.speech import SpeechRequest
from deployments.text.check import check_length
from deployments.voices.library import ProfileFound, VoiceLibrary
from deployments.voices.profile import EncodedProfile, VoiceProfile
from deployments.voices.reference import Recording, ReferenceAudio
from deployments.voices.resolver import ONE_OFF, ResolvedVoice, VoiceResolver
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.dims import VoxCPMDims
from deployments.voxcpm.params import Cloning, Params
from deployments.voxcpm.settings import VoxCPMSettings
from deployments.voxcpm.step.job import Patches
from deployments.voxcpm.text.frontend import SpokenSegment, VoxCPMTextFrontend, split_description
from deployments.voxcpm.text.languages import VERSION_1, VERSION_2, language_of
from deployments.voxcpm.voice.job import PROMPT_PATCHES, REFERENCE_PATCHES, VoiceJob
from deployments.weights.registry import locate

MODEL_KIND = "voxcpm"  # in the keys of stored profiles, which the version of the weights tells apart
RANDOM_VOICE = "random"  # nobody's: the model makes one up, another one with each seed
MAX_DESCRIPTION_CHARS = 500
SEED_BITS = 48
CHARS_PER_S = 14.0  # of Latin script, about, in any voice


@dataclass(frozen=True, slots=True)
class VoxCPMFacts:
    """What planning knows of a checkpoint. The weights are the stages' business."""

    directory: Path
    dims: VoxCPMDims
    frontend: VoxCPMTextFrontend

    @staticmethod
    def read(checkpoint: str) -> VoxCPMFacts:
        """`checkpoint`: a name to pull, or a path. Raises CheckpointError."""
        files = VoxCPMCheckpoint(locate(checkpoint))
        return VoxCPMFacts(files.directory, files.dims, VoxCPMTextFrontend(files.tokenizer))

    @property
    def sample_rate_hz(self) -> int:
        return self.dims.vae.out_sample_rate_hz

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1"""
        return VERSION_2 if self.dims.is_version_2 else VERSION_1


@dataclass(frozen=True, slots=True, eq=False)
class SpokenBefore:
    """What a segment continues: `transcript` as the model reads it, and the patches of it; `reference` is an example of
    the voice apart from it (voxcpm.md 4)."""

    transcript: str = ""
    prompt: Patches | None = None
    reference: Patches | None = None

    @property
    def is_nothing(self) -> bool:
        return self.prompt is None and self.reference is None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VoxCPMPlan(Plan):
    before: SpokenBefore
    description: str  # of the voice, in words; empty: none
    text: str  # without a description
    language: str
    params: Params
    seed: int
    pause_s: float
    encoder_s: float = field(default=0.0)  # spent on the voice


class VoiceStages(Protocol):
    """What planning asks of the stages."""

    def encode(self, job: VoiceJob) -> Awaitable[EncodedProfile]: ...

    def model_version(self) -> Awaitable[str]: ...


class VoxCPMPlanner:
    """Makes the plans of one model's requests."""

    def __init__(
        self,
        name: str,
        settings: VoxCPMSettings,
        facts: VoxCPMFacts,
        stages: VoiceStages,
        voices: VoiceResolver,
    ) -> None:
        self._name = name
        self._settings = settings
        self._facts = facts
        self._stages = stages
        self._voices = voices
        aliases = tuple(alias for alias, voice in settings.voice_aliases.items() if voice == RANDOM_VOICE)
        self.random = VoiceCard(RANDOM_VOICE, "Random", name, ANY_LANGUAGE, aliases=aliases)
        self.default_voice = voices.default or RANDOM_VOICE

    async def plan(self, request: SpeechRequest, library: VoiceLibrary) -> VoxCPMPlan:
        """Raises SpeechError: bad parameters, an unknown voice, a transcript that is missing, what encoding a recording
        raises."""
        settings, began_s = self._settings, time.monotonic()
        params = settings.params.changed(request.params)
        language = request.language or language_of(request.text, self._facts.languages)
        description, text, unused = self._description(request)
        seeded = request.seed if request.seed is not None else settings.seed
        pause_ms = settings.pause_ms if request.pause_ms is None else request.pause_ms
        common: dict[str, Any] = {
            "tempo": request.speed,
            "text": text,
            "language": language,
            "params": params,
            "seed": secrets.randbits(SEED_BITS) if seeded is None else seeded,
            "pause_s": pause_ms / 1000,
        }
        ignored = (*Params.unknown(request.params), *unused, *_unheeded(request))
        if self._is_random(request):
            return VoxCPMPlan(
                request,
                self.random,
                before=SpokenBefore(),
                description=description,
                ignored=ignored,
                **common,
            )
        voice = await self._voices.resolve(request, library)
        use = self._use(voice, params.cloning, described=bool(description))
        found = await self.profile(voice.recording, library, request)
        if use != "reference" and description:  # beside a prompt nothing is described
            common["text"], description = request.text, ""
            ignored = (*ignored, *(["instructions"] if request.instructions else []))
        return VoxCPMPlan(
            request,
            voice.card,
            voice_cache="miss" if found.outcome == "miss" else "hit",
            ignored=ignored,
            warnings=voice.warnings,
            before=self._before(voice.recording, found.profile, use),
            description=description,
            encoder_s=time.monotonic() - began_s,
            **common,
        )

    async def profile(
        self, recording: Recording, library: VoiceLibrary, request: SpeechRequest | None = None
    ) -> ProfileFound:
        """What this model makes of a recording, for a request or ahead of any."""
        encode = partial(self._encode, request.request_id if request else "")
        more: dict[str, Any] = {"deadline": request.deadline} if request else {}
        version = await self._stages.model_version()
        return await library.profile(recording, MODEL_KIND, version, encode, **more)

    def texts(self, plan: VoxCPMPlan) -> Iterator[SpokenSegment]:
        """Segments of the text, made while they are consumed. Raises InvalidRequest where it is too long."""
        longest_s = self._settings.longest_audio_s
        check_length(plan.text, chars_per_s=CHARS_PER_S, longest_s=longest_s)
        yield from self._facts.frontend.segments(plan.text, plan.language, self._settings.max_segment_chars)

    async def _encode(self, request_id: str, recording: ReferenceAudio) -> EncodedProfile:
        # No deadline: others may wait for the same profile, and the next request will want it.
        return await self._stages.encode(VoiceJob(request_id, recording))

    def _is_random(self, request: SpeechRequest) -> bool:
        return request.reference_audio is None and (request.voice or self.default_voice) in self.random.names

    def _description(self, request: SpeechRequest) -> tuple[str, str, tuple[str, ...]]:
        """What describes the voice, the text without it, and which field of the request could not be used for it."""
        words = (request.instructions or "").strip()
        if not self._facts.dims.is_version_2:
            return "", request.text, ("instructions",) if words else ()
        if len(words) > MAX_DESCRIPTION_CHARS:
            raise InvalidRequest(
                f"instructions have {len(words)} characters; this model reads {MAX_DESCRIPTION_CHARS} at most",
                param="instructions",
            )
        before, text = split_description(request.text)
        return ", ".join(filter(None, (words, before))), text, ()

    def _use(self, voice: ResolvedVoice, wanted: Cloning | None, *, described: bool) -> Cloning:
        """What is taken of a recording. Raises InvalidRequest where that cannot be."""
        transcribed = bool(voice.recording.reference_text.strip())
        if not self._facts.dims.has_reference:
            if wanted in ("reference", "both"):
                raise InvalidRequest(
                    f"model {self._name!r} takes nothing but `prompt` of a recording; leave `cloning` out",
                    param="cloning",
                )
            wanted = "prompt"
        if wanted in ("prompt", "both") and not transcribed:
            raise self._transcript_missing(voice)
        if wanted is not None:
            return wanted
        return "both" if transcribed and not described else "reference"

    def _transcript_missing(self, voice: ResolvedVoice) -> InvalidRequest:
        what = "goes on from a recording and has to know what is said in it"
        if voice.card.id == ONE_OFF:
            unfit = " The one that was sent says more than is heard in the part that is used." * any(
                "transcript" in warning for warning in voice.warnings
            )
            message = f"model {self._name!r} {what}: send the transcript of `ref_audio` as `ref_text`.{unfit}"
            return InvalidRequest(message, param="ref_text", code="transcript_missing")
        message = (
            f"model {self._name!r} {what}, and voice {voice.card.name!r} has no transcript: register it again with "
            "`ref_text`, or choose another voice"
        )
        return InvalidRequest(message, param="voice", code="transcript_missing")

    def _before(self, recording: Recording, profile: VoiceProfile, use: Cloning) -> SpokenBefore:
        reference = profile[REFERENCE_PATCHES] if use in ("reference", "both") else None
        if use == "reference":
            return SpokenBefore(reference=reference)
        language = language_of(recording.reference_text, self._facts.languages)
        transcript = self._facts.frontend.transcript(recording.reference_text, language)
        return SpokenBefore(transcript, profile[PROMPT_PATCHES], reference)


def _unheeded(request: SpeechRequest) -> Iterator[str]:
    """Fields that no version knows."""
    if request.quality is not None:
        yield "quality"
    if request.emotion is not None:
        yield "emotion"
