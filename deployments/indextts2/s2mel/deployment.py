"""What Serve calls for the S2Mel stage."""

from __future__ import annotations

import asyncio

from deployments.core.metrics import Reply
from deployments.core.stages import replica_name
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.s2mel.engine import S2MelEngine, load_networks
from deployments.indextts2.s2mel.job import Mel, S2MelJob
from deployments.indextts2.settings import S2MelSettings
from deployments.weights.registry import locate
from deployments.weights.tensors import dtype_named


class S2Mel:
    """One replica: one set of weights, one step loop.

    Call it by reference: the voice inside a job is an object reference, which gRPC messages would keep alive for ever,
    and a complete job of a long segment may exceed their 4 MB.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, checkpoint: str, device: str, settings: S2MelSettings
    ) -> None:
        """`checkpoint`: a name to pull, or a path. Raises CheckpointError."""
        replica = replica_name()
        self._engine = await asyncio.to_thread(_load, checkpoint, device, settings, replica)
        self._engine.start()

    async def mel(self, job: S2MelJob) -> Reply[Mel | None]:
        """New frames (bands, L - F0) float32, or None where the job is to be sent again complete; see
        S2MelEngine.mel."""
        return await self._engine.mel(job)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """The backlog in frames. Serve asks for it by this name."""
        return self._engine.scaling_stats()

    async def ready(self) -> bool:
        self.check_health()
        return True

    def check_health(self) -> None:
        self._engine.check_health()


def _load(checkpoint: str, device: str, settings: S2MelSettings, replica: str) -> S2MelEngine:
    files = IndexTTSCheckpoint(locate(checkpoint))
    networks, source = load_networks(files, device=device, dtype=dtype_named(settings.dtype))
    return S2MelEngine(
        networks,
        source,
        settings,
        frames_per_code=files.traits.frames_per_code,
        stretches=files.traits.stretches,
        replica=replica,
    )
