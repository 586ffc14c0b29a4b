"""What Serve calls for the Vocoder stage."""

from __future__ import annotations

import asyncio

from deployments.core.metrics import Reply
from deployments.core.speech import Samples
from deployments.core.stages import replica_name
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.settings import VocoderSettings
from deployments.indextts2.vocoder.engine import VocoderEngine, load_engine
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.weights.registry import locate
from deployments.weights.tensors import dtype_named


class Vocoder:
    """One replica: one set of weights; windows that arrive together are vocoded together."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, checkpoint: str, device: str, settings: VocoderSettings
    ) -> None:
        """`checkpoint`: a name to pull, or a path. Raises CheckpointError."""
        self._engine = await asyncio.to_thread(_load, checkpoint, device, settings, replica_name())

    async def vocode(self, job: VocodeJob) -> Reply[Samples]:
        """Samples (hop * (end - start),) of frames [start, end); see VocoderEngine.vocode."""
        return await self._engine.vocode(job)

    async def halo(self) -> Reply[tuple[int, int, int]]:
        """halo_frames, hop (samples per frame), sample_rate_hz."""
        return self._engine.halo()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Windows computed and waiting, over those of a batch. Serve asks for it by this name."""
        return self._engine.metrics().scaling_stats()

    async def ready(self) -> bool:
        self.check_health()
        return True

    def check_health(self) -> None:
        self._engine.check_health()


def _load(checkpoint: str, device: str, settings: VocoderSettings, replica: str) -> VocoderEngine:
    files = IndexTTSCheckpoint(locate(checkpoint), vocoder=settings.type)
    return load_engine(files, settings, device=device, dtype=dtype_named(settings.dtype), replica=replica)
