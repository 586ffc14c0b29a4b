"""What Serve calls for the SpeakerEncoder stage."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from ray import serve

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.emotion import EmotionMatrix
from deployments.indextts2.speaker.encoder import Array
from deployments.indextts2.speaker.service import SpeakerService
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio
from deployments.weights.locate import locate

T = TypeVar("T")


class SpeakerEncoderStage:
    """One replica: one set of weights; recordings that arrive together are encoded as one batch.

    Call it by reference: a decoded recording may have 46 MB, and gRPC refuses messages above 4 MB.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        checkpoint: str,
        device: str = "cpu",
        dtype: str = "float32",
        max_batch: int = 4,
        batch_wait_s: float = 0.01,
    ) -> None:
        """`checkpoint`: a name to pull, or a path. A lone request waits `batch_wait_s`, unless `max_batch` is 1."""
        self._max_batch = max_batch
        batched: Any  # Serve hangs these setters on the methods it decorates
        for batched in (self._encode_batch, self._emotion_batch):
            batched.set_max_batch_size(max_batch)
            batched.set_batch_wait_timeout_s(batch_wait_s)
        self._service = await asyncio.to_thread(
            lambda: SpeakerService(IndexTTSCheckpoint(locate(checkpoint)), device=device, dtype=dtype)
        )

    async def encode(self, audio: ReferenceAudio) -> VoiceProfile:
        """The profile, without a key, of a recording of which the first 15 s are heard (see reference_warnings).

        Arrays: those of EncodedVoice. Raises InvalidRequest if the recording is too short.
        """
        if self._max_batch == 1:
            return _result((await asyncio.to_thread(self._service.encode, [audio]))[0])
        return _result(await self._encode_batch(audio))

    async def encode_emotion(self, audio: ReferenceAudio) -> Array:
        """e(F_emo) (D,) of an emotion reference. Raises like `encode`."""
        if self._max_batch == 1:
            return _result((await asyncio.to_thread(self._service.encode_emotion, [audio]))[0])
        return _result(await self._emotion_batch(audio))

    async def emotion_scores(self, text: str) -> list[float]:
        """Eight weights for a description; the classifier is loaded at the first call. Raises InvalidRequest."""
        return await asyncio.to_thread(self._service.emotion_scores, text)

    async def emotion_matrix(self) -> EmotionMatrix:
        """For the pipeline, which mixes emotions and holds no files."""
        return self._service.matrix

    async def model_version(self) -> str:
        return self._service.version

    async def ready(self) -> bool:
        self.check_health()
        return True

    def check_health(self) -> None:
        if self._service.error:
            raise RuntimeError("the device has failed") from self._service.error

    # An exception that is raised here would fail the whole batch; one that is returned is one member's result.
    @serve.batch
    async def _encode_batch(self, audio: list[ReferenceAudio]) -> list[VoiceProfile | Exception]:
        return await asyncio.to_thread(self._service.encode, audio)

    @serve.batch
    async def _emotion_batch(self, audio: list[ReferenceAudio]) -> list[Array | Exception]:
        return await asyncio.to_thread(self._service.encode_emotion, audio)


def _result(outcome: T | Exception) -> T:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
