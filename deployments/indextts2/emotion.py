"""What a request says about emotion, to the vector that the GPT gets (indextts2-front.md 9)."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from cachetools import LRUCache

from deployments.core.deadline import NEVER, Deadline, before
from deployments.core.errors import DeadlineExceeded, InvalidRequest
from deployments.core.speech import Emotion
from deployments.indextts2.speaker.emotion import (
    EmotionMatrix,
    Vector,
    check_weights,
    merge,
    normalize_weights,
    scale_weights,
)
from deployments.indextts2.speaker.job import EmotionAudioJob, EmotionTextJob
from deployments.voices.decode import decode_reference
from deployments.voices.profile import VoiceProfile

MAX_WEIGHT = 1.2
MAX_TEXT_CHARS = 4096
KEPT = 1024  # readings of texts, and of recordings: a few kilobytes each
DECODERS = 2  # recordings decoded at the same time; each may take seconds
# How long a missing classifier is taken for missing: some clients send `instructions` with every request.
UNAVAILABLE_S = 60.0

Scores = tuple[float, ...]
T = TypeVar("T")


class EmotionStage(Protocol):
    """The Speaker stage as a pipeline calls it: values, without the metrics that come with its replies."""

    def emotion_vector(self, job: EmotionAudioJob) -> Awaitable[Vector]: ...

    def emotion_scores(self, job: EmotionTextJob) -> Awaitable[Sequence[float]]: ...

    def emotion_matrix(self) -> Awaitable[EmotionMatrix]: ...


@dataclass(frozen=True, slots=True)
class EmotionReading:
    """The part of an emotion that does not depend on the voice: a reference vector or eight weights."""

    reference: Vector | None = None  # e(F_emo), (D,)
    weights: Scores | None = None
    alpha: float = 1.0
    random: bool = False
    warnings: tuple[str, ...] = ()  # about the recording


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


class EmotionReader:
    """Reads the emotions of requests: each text and each recording once, however many requests bring it.

    Texts are known by themselves, recordings by the hash of their bytes, so one that is known is not even decoded.
    Used from one event loop.
    """

    def __init__(self, stage: EmotionStage) -> None:
        self._stage = stage
        self._scores: LRUCache[str, Scores | InvalidRequest] = LRUCache(KEPT)
        self._vectors: LRUCache[str, EmotionReading] = LRUCache(KEPT)
        self._running: dict[str, _Computation] = {}
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="emotion-decode")
        self._hashing = ThreadPoolExecutor(
            1, thread_name_prefix="emotion-hash"
        )  # never behind a slow decoder
        self._unavailable: tuple[float, InvalidRequest] | None = None

    async def read(
        self, emotion: Emotion | None, *, request_id: str, deadline: Deadline = NEVER
    ) -> EmotionReading:
        """What `emotion` says. Whoever is cancelled stops what is computed, unless others wait for the same.

        Raises InvalidRequest, what decoding a recording raises, DeadlineExceeded, and what the stage raises.
        """
        if emotion is None:
            return EmotionReading()
        check_emotion(emotion)
        if emotion.audio is not None:
            return replace(await self._recording(emotion.audio, request_id, deadline), alpha=emotion.alpha)
        if emotion.vector is not None:
            weights: Sequence[float] = normalize_weights(emotion.vector)
        elif emotion.text is not None:
            weights = await self._text(emotion.text, request_id, deadline)
        else:
            return EmotionReading()
        return EmotionReading(weights=tuple(scale_weights(weights, emotion.alpha)), random=emotion.random)

    async def vector(self, reading: EmotionReading, profile: VoiceProfile, seed: int) -> Vector:
        """The emotion vector (D,) for a voice; the matrix of the stage is fetched where there are weights."""
        matrix = await self._stage.emotion_matrix() if reading.weights is not None else None
        return mix_emotion(reading, profile, matrix, seed)

    async def _text(self, text: str, request_id: str, deadline: Deadline) -> Scores:
        if (found := self._scores.get(text)) is None:
            self._raise_unavailable()

            async def compute() -> Scores | InvalidRequest:
                scores = await self._classified(EmotionTextJob(request_id, text, deadline=deadline))
                self._scores[text] = scores
                return scores

            found = await self._shared(f"text {text}", compute, deadline)
        if isinstance(found, InvalidRequest):
            raise _again(found)
        return found

    async def _classified(self, job: EmotionTextJob) -> Scores | InvalidRequest:
        """The scores, or why there are none: both are the same for the same text."""
        try:
            return tuple(await self._stage.emotion_scores(job))
        except InvalidRequest as error:
            if error.code != "emotion_text_unclear":
                if error.code == "emotion_text_unavailable":
                    self._unavailable = time.monotonic() + UNAVAILABLE_S, _again(error)
                raise
            return _again(error)

    def _raise_unavailable(self) -> None:
        if self._unavailable is not None and time.monotonic() < self._unavailable[0]:
            raise _again(self._unavailable[1])

    async def _recording(self, data: bytes, request_id: str, deadline: Deadline) -> EmotionReading:
        loop = asyncio.get_running_loop()
        digest = await loop.run_in_executor(self._hashing, lambda: hashlib.sha256(data).hexdigest())
        if (known := self._vectors.get(digest)) is not None:
            return known

        async def compute() -> EmotionReading:
            recording = await loop.run_in_executor(
                self._decoders, lambda: decode_reference(data, param="emotion")
            )
            vector = await self._stage.emotion_vector(
                EmotionAudioJob(request_id, recording, deadline=deadline)
            )
            warnings = tuple(f"emotion: {warning}" for warning in recording.warnings)
            self._vectors[digest] = reading = EmotionReading(reference=vector, warnings=warnings)
            return reading

        return await self._shared(f"recording {digest}", compute, deadline)

    async def _shared(self, key: str, compute: Callable[[], Coroutine[Any, Any, T]], deadline: Deadline) -> T:
        """The result of `compute`, which runs once for all who want `key` now, and stops when none of them is left."""
        while True:
            computation = self._running.get(key)
            if computation is None:
                computation = self._running[key] = _Computation(compute)
            computation.waiting += 1
            try:
                result: T = await before(
                    deadline, asyncio.shield(computation.task), "the emotion was not read"
                )
                return result
            except DeadlineExceeded:
                if deadline.passed:
                    raise
                # That was the deadline of the request that came first; this one has time left.
            finally:
                computation.waiting -= 1
                if computation.waiting == 0 or computation.task.done():
                    computation.task.cancel()
                    if self._running.get(key) is computation:
                        del self._running[key]


class _Computation:
    """Work that several requests may wait for."""

    def __init__(self, compute: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.waiting = 0
        # In a context of its own: Serve cancels the calls of a request with it, and others may wait for this one.
        self.task: asyncio.Task[Any] = contextvars.Context().run(asyncio.create_task, compute())
        # Everybody may have left when it fails; asyncio complains about an error that nobody has looked at.
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())


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


def _again(error: InvalidRequest) -> InvalidRequest:
    """A new one each time: a raised exception collects the frames of every raise."""
    return InvalidRequest(error.message, param=error.param, code=error.code)
