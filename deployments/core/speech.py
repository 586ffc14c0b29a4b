"""What is asked of a model and what it answers: the nouns that travel between ingress, router, pipelines and stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from deployments.core.deadline import NEVER, Deadline
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
    # How to speak, in words: a wish. Models that follow it come first where no voice is named; none is refused for it.
    instructions: str | None = None
    quality: str | None = None  # the name of one of the model's presets
    params: Mapping[str, object] = field(default_factory=dict)  # validated by the model's own Params
    pause_ms: float | None = None
    text_cleaning: bool = True  # markup and pictures in the text are not spoken
    # Of the answer, which is resampled: among equals the model that makes it is chosen.
    sample_rate_hz: int | None = None
    dialogue: bool = False  # the text is a conversation, for a model that speaks it as one
    tags: tuple[str, ...] = ()  # words of the client's own, for the operator's routing rules
    latency_budget_ms: float | None = None
    filler: bool | None = None  # may the answer begin with an interjection? None: as the operator's rules say
    # May another model answer? None: a policy's choice may change, a named model may not.
    fallback: bool | None = None
    stream: bool = True
    deadline: Deadline = NEVER  # for the first audio; the router sets one where the client did not
    part_of: str | None = None  # the id of a longer text that this is a piece of: one listener hears both
    key_id: str | None = None  # of the API key that it came with, for limits, logs and metrics
    voices_of: str | None = None  # uploaded voices of this key and of nobody alone may be used; None: all

    def may_use_voice_of(self, owner: str) -> bool:
        """Whether a voice of `owner`, the id of a key or empty, may speak it."""
        return self.voices_of is None or owner in ("", self.voices_of)


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
    warnings: tuple[str, ...] = ()  # what a listener may miss, as far as it is known before any audio
    filler_ms: float = 0.0  # length of the interjection that comes before the text; 0: there is none
    stage_s: Mapping[str, float] = field(default_factory=dict)  # spent by the first audio; see AudioChunk

    def audio_s(self, chunk: AudioChunk) -> float:
        """How long a chunk of this stream is heard."""
        return len(chunk.samples) / self.sample_rate_hz / self.tempo


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """The next samples of a stream. `segment` counts the pieces of text from 0. `stage_s` is what each stage has spent
    on the request so far, of which `queue` is the wait for a turn; only the first chunk needs it."""

    samples: Samples
    segment: int
    stage_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """Last event of a complete stream. A stream without it was cut."""

    audio_s: float
    stage_s: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()  # all of them: those of the start, and what was found while speaking


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """Last event of a stream that failed for a reason a person can be told. Sent instead of raised between replicas,
    because Serve logs every exception that leaves a replica as a crash."""

    error: SpeechError


StreamEvent = StreamStart | AudioChunk | StreamEnd | StreamFailed
