"""The Vocoder's engine: windows that arrive together are vocoded together, without knowing of each other."""

from __future__ import annotations

import torch

from deployments.core.metrics import Reply, StageMetrics
from deployments.core.speech import Samples
from deployments.engine.batcher import Batcher, device_probe
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.settings import VocoderSettings
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.vocoder import VocoderNetwork, WindowVocoder, load_vocoder


class VocoderEngine:
    """A vocoder with its batches. A lone job waits `batch_wait_s`; while one batch runs the next one gathers, so that 0
    is no bad choice."""

    def __init__(
        self, network: VocoderNetwork, settings: VocoderSettings, *, device: str = "cpu", replica: str = ""
    ) -> None:
        """`replica` names this process in the metrics."""
        self.network = network
        self._windows = WindowVocoder(network, device=device, max_frames=settings.max_batch_frames)
        self._batcher = Batcher(
            "vocoder",
            max_batch=settings.max_batch,
            wait_s=settings.batch_wait_s,
            replica=replica,
            probe=device_probe(device),
        )

    async def vocode(self, job: VocodeJob) -> Reply[Samples]:
        """Samples (hop * (end - start),) of frames [start, end).

        Raises InvalidRequest for a job that makes no sense, Overloaded, DeadlineExceeded, Unavailable.
        """
        job.check(self.network.mel_channels)
        samples = await self._batcher.run(
            self._windows.vocode,
            job,
            slack_s=job.slack_s,
            deadline=job.deadline,
            refusable=job.refusable,
        )
        return self._batcher.reply(samples)

    def halo(self) -> Reply[tuple[int, int, int]]:
        """halo_frames, hop (samples per frame), sample_rate_hz."""
        network = self.network
        return self._batcher.reply((network.halo_frames, network.hop, network.sample_rate_hz))

    def check_health(self) -> None:
        self._batcher.check_health()

    def metrics(self) -> StageMetrics:
        return self._batcher.metrics()

    def stop(self) -> None:
        self._batcher.stop()


def load_engine(
    checkpoint: IndexTTSCheckpoint,
    settings: VocoderSettings,
    *,
    device: str,
    dtype: torch.dtype,
    replica: str = "",
) -> VocoderEngine:
    """The vocoder of a checkpoint. Raises CheckpointError."""
    folder = checkpoint.path("vocoder_config").parent
    network = load_vocoder(folder, checkpoint.path("vocoder"), device=device, dtype=dtype)
    return VocoderEngine(network, settings, device=device, replica=replica)
