"""What the stage does with the requests of one batch: each gets its result or its own error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from deployments.core.errors import CheckpointError, InvalidRequest, SpeechError
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.emotion import EmotionMatrix
from deployments.indextts2.speaker.encoder import Array, SpeakerEncoder, load_emotion_matrix
from deployments.indextts2.speaker.qwen_emotion import EmotionClassifier
from deployments.indextts2.speaker.reference import cut_warning
from deployments.indextts2.speaker.version import profile_version
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio
from deployments.weights.dtypes import dtype_named

logger = logging.getLogger(__name__)

T = TypeVar("T")


class SpeakerService:
    """Encoder, emotion matrix and classifier of one checkpoint. Blocking: call it from a thread.

    `error` is set once the device has failed, after which nothing can be expected of this process.
    """

    def __init__(
        self, checkpoint: IndexTTSCheckpoint, *, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        """Raises CheckpointError if files are missing or of other dimensions, ValueError for an unknown dtype."""
        self.encoder = SpeakerEncoder.load(checkpoint, device=device, dtype=dtype_named(dtype))
        self.matrix: EmotionMatrix = load_emotion_matrix(checkpoint)
        self.classifier = EmotionClassifier(checkpoint.find("qwen"), device=device)
        self.version = profile_version(checkpoint, dtype)
        self.error: Exception | None = None
        self._classifying = threading.Lock()

    def encode(self, recordings: Sequence[ReferenceAudio]) -> list[VoiceProfile | Exception]:
        """A profile without a key per recording, its arrays named as in EncodedVoice."""

        def profiles(batch: Sequence[ReferenceAudio]) -> list[VoiceProfile]:
            return [VoiceProfile(voice.arrays()) for voice in self.encoder.encode(batch)]

        return self._each(profiles, recordings)

    def encode_emotion(self, recordings: Sequence[ReferenceAudio]) -> list[Array | Exception]:
        """e(F_emo) (D,) per recording."""
        return self._each(self.encoder.encode_emotion, recordings)

    def emotion_scores(self, text: str) -> list[float]:
        """Eight weights in the order of EMOTIONS. Raises InvalidRequest where the classifier is not installed or makes
        nothing of `text`."""
        with self._classifying:  # the first call loads 1.2 GB, which must not happen twice
            try:
                return self.classifier.scores(text)
            except CheckpointError as error:
                raise InvalidRequest(
                    f"This server cannot tell an emotion from text: {error}. "
                    "Give the emotion as a vector or as audio instead.",
                    param="emotion",
                    code="emotion_text_unavailable",
                ) from error
            except ValueError as error:
                raise InvalidRequest(
                    f"The emotion cannot be told from this description ({error}); word it differently.",
                    param="emotion",
                    code="emotion_text_unclear",
                ) from error

    def _each(
        self, compute: Callable[[Sequence[ReferenceAudio]], list[T]], recordings: Sequence[ReferenceAudio]
    ) -> list[T | Exception]:
        """Results of the whole batch; where it fails, of its members one by one: who is at fault fails alone."""
        try:
            return [*compute(recordings)]
        except Exception as error:
            if not isinstance(error, SpeechError):
                self._note(error)
            if len(recordings) == 1:
                return [error]
        return [self._each(compute, [recording])[0] for recording in recordings]

    def _note(self, error: Exception) -> None:
        logger.error("a batch of references failed", exc_info=error)
        out_of_memory = isinstance(error, torch.OutOfMemoryError)
        if self.encoder.device.type != "cpu" and isinstance(error, RuntimeError) and not out_of_memory:
            self.error = error


def reference_warnings(duration_s: float) -> tuple[str, ...]:
    """What whoever gave a recording of `duration_s` should know about how this stage uses it."""
    cut = cut_warning(duration_s)
    return (cut,) if cut else ()
