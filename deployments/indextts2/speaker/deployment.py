"""What Serve calls for the Speaker stage."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from deployments.core.deadline import Deadline
from deployments.core.errors import CheckpointError, InvalidRequest
from deployments.core.logs import RequestLogger
from deployments.core.metrics import Reply, StageMetrics, scaling_stats
from deployments.core.stages import replica_name
from deployments.engine.batcher import Batcher, device_probe
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.settings import SpeakerSettings
from deployments.indextts2.speaker.emotion import EmotionMatrix, Vector
from deployments.indextts2.speaker.emotion_classifier import EmotionClassifier
from deployments.indextts2.speaker.encoder import VoiceEncoder, load_emotion_matrix, profile_version
from deployments.indextts2.speaker.job import EmotionAudioJob, EmotionTextJob, EncodeJob
from deployments.voices.cache import ByteLRU
from deployments.voices.profile import EncodedProfile, VoiceProfile
from deployments.weights.registry import locate
from deployments.weights.tensors import dtype_named

KEPT_TEXTS = 1024  # whose scores are kept
KEPT_VECTORS_BYTES = 8 << 20  # of emotion recordings: some 1,600
TEXT_TIMEOUT_S = (
    300.0  # the first text waits for the model to be read, and all tokens may take minutes on a CPU
)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A text for the classifier, as long as somebody waits for it."""

    request_id: str
    text: str
    deadline: Deadline
    left: threading.Event  # set when the caller has gone

    def wanted(self) -> bool:
        return not self.left.is_set() and not self.deadline.passed


class Speaker:
    """One replica: one set of weights; recordings that arrive together are encoded as one batch.

    Call it by reference: a decoded recording may have 46 MB, and gRPC refuses messages above 4 MB.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, checkpoint: str, device: str, settings: SpeakerSettings
    ) -> None:
        """`checkpoint`: a name to pull, or a path. Raises CheckpointError."""
        replica, probe = replica_name(), device_probe(device)
        # A lone recording waits for others, unless a batch holds only one.
        wait_s = settings.batch_wait_s if settings.max_batch > 1 else 0.0
        self._recordings = Batcher(
            "speaker", max_batch=settings.max_batch, wait_s=wait_s, replica=replica, probe=probe
        )
        # Of its own, because a text takes many times longer than a recording.
        self._texts = Batcher(
            "emotion-text", max_batch=1, replica=f"{replica}/texts", timeout_s=TEXT_TIMEOUT_S, probe=probe
        )
        self._vectors: ByteLRU[Vector] = ByteLRU(KEPT_VECTORS_BYTES, lambda vector: vector.nbytes)
        self._scores: ByteLRU[list[float]] = ByteLRU(KEPT_TEXTS, lambda scores: 1)  # counted, not weighed
        await asyncio.to_thread(self._load, checkpoint, device, settings.dtype)

    def _load(self, checkpoint: str, device: str, dtype: str) -> None:
        files = IndexTTSCheckpoint(locate(checkpoint))
        self._encoder = VoiceEncoder.load(files, device=device, dtype=dtype_named(dtype))
        self._matrix = load_emotion_matrix(files)
        self._classifier = EmotionClassifier(files.find("qwen"), device=device)
        self._version = profile_version(files, dtype)

    async def encode(self, job: EncodeJob) -> Reply[EncodedProfile]:
        """The profile, without a key, with the arrays of VoiceEncoder.encode, and its version.

        Raises InvalidRequest if the recording is too short, Overloaded, DeadlineExceeded, Unavailable.
        """
        profile = await self._recordings.run(
            self._profiles, job, slack_s=job.slack_s, deadline=job.deadline, refusable=job.refusable
        )
        return self._recordings.reply(EncodedProfile(profile, self._version))

    async def emotion_vector(self, job: EmotionAudioJob) -> Reply[Vector]:
        """e(F_emo) (D,) of an emotion reference. Raises like `encode`."""
        vector = self._vectors.get(job.recording.sha256)
        if vector is None:
            vector = await self._recordings.run(
                self._emotions, job, slack_s=job.slack_s, deadline=job.deadline, refusable=job.refusable
            )
        return self._recordings.reply(vector)

    async def emotion_scores(self, job: EmotionTextJob) -> Reply[list[float]]:
        """Eight weights in the order of EMOTIONS; the classifier is loaded at the first call.

        Raises InvalidRequest where the classifier is not installed (code emotion_text_unavailable) or makes nothing of
        the text (emotion_text_unclear), and like `encode`.
        """
        scores = self._scores.get(job.text)
        if scores is None:
            reading = _Reading(job.request_id, job.text, job.deadline, threading.Event())
            try:
                scores = await self._texts.run(
                    self._read, reading, slack_s=job.slack_s, deadline=job.deadline, refusable=job.refusable
                )
            except InvalidRequest as error:
                RequestLogger(job.request_id).info("emotion: %s", error.message)
                raise
            finally:
                reading.left.set()
        return self._texts.reply(scores)

    async def emotion_matrix(self) -> Reply[EmotionMatrix]:
        """For the pipeline, which mixes emotions and holds no files."""
        return self._recordings.reply(self._matrix)

    async def model_version(self) -> Reply[str]:
        """See profile_version."""
        return self._recordings.reply(self._version)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Recordings and texts computed and waiting, over a batch of recordings. Serve asks for it by this name."""
        return scaling_stats(
            sum(_requests(each.metrics()) for each in (self._recordings, self._texts)),
            self._recordings.metrics().rows,
        )

    async def ready(self) -> bool:
        self.check_health()
        return True

    def check_health(self) -> None:
        self._recordings.check_health()
        self._texts.check_health()

    def _profiles(self, jobs: Sequence[EncodeJob]) -> list[VoiceProfile]:
        return self._encoder.encode([job.recording for job in jobs])

    def _emotions(self, jobs: Sequence[EmotionAudioJob]) -> list[Vector]:
        vectors = self._encoder.encode_emotion([job.recording for job in jobs])
        for job, vector in zip(jobs, vectors, strict=True):
            self._vectors.put(job.recording.sha256, vector)
        return vectors

    def _read(self, readings: Sequence[_Reading]) -> list[list[float]]:
        (reading,) = readings
        if (known := self._scores.get(reading.text)) is not None:
            return [known]  # the reading before it was of the same text
        try:
            scores = self._classifier.scores(reading.text, reading.wanted)
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
        self._scores.put(reading.text, scores)
        return [scores]


def _requests(metrics: StageMetrics) -> int:
    return metrics.held_jobs + metrics.waiting_jobs
