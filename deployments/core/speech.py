"""The nouns that travel between ingress, router, pipelines and stages. No torch, no Ray, no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from deployments.core.errors import SpeechError

Samples = npt.NDArray[np.float32]
"""Mono audio within [-1, 1], shape (n,)."""


@dataclass(frozen=True, slots=True)
class Emotion:
    """What a request says about emotion (indextts2-front.md 9). At most one of `vector`, `text`, `audio` is set."""

    vector: tuple[float, ...] | None = None  # 8 weights, order of indextts2-front.md 9
    text: str | None = None
    audio: bytes | None = None
    alpha: float = 1.0
    random: bool = False


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One text to be spoken, free of any protocol. `None` means: the model's own default."""

    request_id: str
    text: str
    model: str = "auto"
    voice: str | None = None
    language: str | None = None
    speed: float = 1.0
    seed: int | None = None
    reference_audio: bytes | None = None  # one-off cloning: the recording as it was sent, in place of `voice`
    reference_text: str | None = None  # what is said in it
    emotion: Emotion | None = None
    instructions: str | None = None  # how to speak, in words; never a reason to choose another model
    quality: str | None = None
    knobs: Mapping[str, float | int | str] = field(default_factory=dict)  # validated by the model's pipeline
    pause_ms: float | None = None
    latency_budget_ms: float | None = None
    fallback: bool = True
    stream: bool = True


@dataclass(frozen=True, slots=True)
class StreamStart:
    """First event of every stream: what was decided before any audio exists."""

    model: str
    voice: str
    sample_rate_hz: int
    reason: str
    tempo: float = 1.0  # what is left of `speed` for a time stretch after synthesis
    voice_cache: str | None = None  # "hit" or "miss" where the model encodes voices
    ignored: tuple[str, ...] = ()  # fields of the request that this model cannot honour


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """The next samples of a stream. `segment` counts the pieces of text from 0."""

    samples: Samples
    segment: int


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """Last event of a complete stream. A stream without it was cut."""

    audio_s: float
    stage_s: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """Last event of a stream that failed for a reason a person can be told. Sent instead of raised between replicas,
    because Serve logs every exception that leaves a replica as a crash."""

    error: SpeechError


StreamEvent = StreamStart | AudioChunk | StreamEnd | StreamFailed


ANY_LANGUAGE = "mul"  # ISO 639-2, several languages: a cloned voice speaks all that its model does


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice as listed to clients."""

    id: str
    name: str
    model: str  # empty where `uploaded`: every model that clones speaks with such a voice
    language: str
    gender: str | None = None
    uploaded: bool = False
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model declares about itself; the routing policy reads nothing else of it."""

    name: str
    kind: str
    sample_rate_hz: int
    languages: tuple[str, ...]  # ISO 639-1
    default_voice: str
    cloning: bool = False
    emotion: bool = False
    quality_rank: int = 0  # higher sounds better
    capacity: int = 1  # requests it serves side by side without making their first audio later
    description: str = ""
