"""What a request says about emotion, to the vector that the GPT gets (indextts2-front.md 9)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deployments.core.errors import InvalidRequest
from deployments.core.speech import Emotion
from deployments.indextts2.speaker.emotion import (
    EmotionMatrix,
    check_weights,
    merge,
    normalize_weights,
    scale_weights,
)
from deployments.voices.decode import decode_reference
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio

MAX_WEIGHT = 1.2
MAX_TEXT_CHARS = 4096

Vector = npt.NDArray[np.float32]


class EmotionStage(Protocol):
    """What the SpeakerEncoder stage can tell about emotion."""

    def encode_emotion(self, audio: ReferenceAudio) -> Awaitable[Vector]: ...

    def emotion_scores(self, text: str) -> Awaitable[list[float]]: ...

    def emotion_matrix(self) -> Awaitable[EmotionMatrix]: ...


@dataclass(frozen=True, slots=True)
class EmotionReading:
    """The part of an emotion that does not depend on the voice: a reference vector or eight weights."""

    reference: Vector | None = None  # e(F_emo), (D,)
    weights: tuple[float, ...] | None = None
    alpha: float = 1.0
    random: bool = False


def check_emotion(emotion: Emotion) -> None:
    """Everything that can be said without a model. Raises InvalidRequest."""
    given = [name for name in ("vector", "text", "audio") if getattr(emotion, name) is not None]
    if len(given) > 1:
        raise _refused(f"give one of vector, text and audio, not {' and '.join(given)}")
    if not math.isfinite(emotion.alpha) or not 0 <= emotion.alpha <= 1:
        raise _refused(f"alpha must be a number from 0 to 1, not {emotion.alpha!r}")
    if emotion.random and given not in (["vector"], ["text"]):
        raise _refused("random varies how a vector or a text is expressed; give one of them")
    if emotion.vector is not None:
        check_weights(emotion.vector)
        if max(emotion.vector) > MAX_WEIGHT:
            raise _refused(f"each of the eight numbers of the vector may be at most {MAX_WEIGHT}")
    if emotion.text is not None and not 0 < len(emotion.text.strip()) <= MAX_TEXT_CHARS:
        raise _refused(f"the text must have 1 to {MAX_TEXT_CHARS} characters")


async def read_emotion(emotion: Emotion | None, stage: EmotionStage) -> EmotionReading:
    """Ask the stage for what `emotion` names. Raises InvalidRequest, or what decoding a recording raises."""
    if emotion is None:
        return EmotionReading()
    check_emotion(emotion)
    if emotion.audio is not None:
        audio = await asyncio.to_thread(decode_reference, emotion.audio, param="emotion")
        return EmotionReading(reference=await stage.encode_emotion(audio), alpha=emotion.alpha)
    if emotion.vector is not None:
        weights = normalize_weights(emotion.vector)
    elif emotion.text is not None:
        weights = await stage.emotion_scores(emotion.text)
    else:
        return EmotionReading()
    return EmotionReading(weights=tuple(scale_weights(weights, emotion.alpha)), random=emotion.random)


def mix_emotion(
    reading: EmotionReading, profile: VoiceProfile, matrix: EmotionMatrix | None, seed: int
) -> Vector:
    """The emotion vector (D,) for a voice. `matrix` is needed where there are weights."""
    speaker = profile["speaker_emotion"]
    reference = profile["reference_emotion"] if reading.reference is None else reading.reference
    mixed = merge(speaker, reference, reading.alpha)
    if reading.weights is None:
        return mixed
    assert matrix is not None
    rows = matrix.random_rows(seed) if reading.random else matrix.nearest_rows(profile["style"])
    return matrix.mix(reading.weights, rows, mixed).astype(np.float32)


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"emotion: {reason}", param="emotion")
