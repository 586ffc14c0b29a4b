"""What Serve calls for the encoder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from deployments.core.metrics import Reply
from deployments.core.stages import replica_name
from deployments.engine.batcher import Batcher, device_probe
from deployments.voices.profile import EncodedProfile, VoiceProfile
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.settings import EncoderSettings
from deployments.voxcpm.voice.encoder import RecordingEncoder, profile_version
from deployments.voxcpm.voice.job import VoiceJob
from deployments.weights.registry import locate


class VoxCPMEncoder:
    """One replica: recordings that arrive together are encoded as one batch, apart from the engine, whose steps they
    would hold up.

    Call it by reference: a decoded recording may have 46 MB, and gRPC refuses messages above 4 MB.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, checkpoint: str, device: str, settings: EncoderSettings
    ) -> None:
        """`checkpoint`: a name to pull, or a path. Raises CheckpointError."""
        # A lone recording waits for others, unless a batch holds only one.
        wait_s = settings.batch_wait_s if settings.max_batch > 1 else 0.0
        self._recordings = Batcher(
            "encoder",
            max_batch=settings.max_batch,
            wait_s=wait_s,
            replica=replica_name(),
            probe=device_probe(device),
        )
        await asyncio.to_thread(self._load, checkpoint, device)

    def _load(self, checkpoint: str, device: str) -> None:
        files = VoxCPMCheckpoint(locate(checkpoint))
        self._encoder = RecordingEncoder.load(files, device=device)
        self._version = profile_version(files)

    async def encode(self, job: VoiceJob) -> Reply[EncodedProfile]:
        """The profile, without a key, and its version.

        Raises InvalidRequest if the recording is too short, Overloaded, DeadlineExceeded, Unavailable.
        """
        profile = await self._recordings.run(
            self._profiles, job, slack_s=job.slack_s, deadline=job.deadline, refusable=job.refusable
        )
        return self._recordings.reply(EncodedProfile(profile, self._version))

    async def model_version(self) -> Reply[str]:
        """See profile_version."""
        return self._recordings.reply(self._version)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Recordings computed and waiting, over those of a batch. Serve asks for it by this name."""
        return self._recordings.metrics().scaling_stats()

    async def ready(self) -> bool:
        self.check_health()
        return True

    def check_health(self) -> None:
        self._recordings.check_health()

    def _profiles(self, jobs: Sequence[VoiceJob]) -> list[VoiceProfile]:
        return self._encoder.encode([job.recording for job in jobs])
