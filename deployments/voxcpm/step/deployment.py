"""What Serve calls for the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from deployments.core.metrics import Reply
from deployments.core.stages import replica_name
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.settings import EngineSettings
from deployments.voxcpm.step.engine import VoxCPMEngine, load_parts
from deployments.voxcpm.step.job import PatchChunk, VoxCPMJob
from deployments.weights.registry import locate
from deployments.weights.tensors import dtype_named


class Engine:
    """One replica: one set of weights, one cache of slots, one step loop."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, checkpoint: str, device: str, settings: EngineSettings
    ) -> None:
        """`checkpoint`: a name to pull, or a path. Raises CheckpointError."""
        self._engine = await asyncio.to_thread(_load, checkpoint, device, settings, replica_name())
        self._engine.start()

    async def stream(self, job: VoxCPMJob) -> AsyncGenerator[Reply[PatchChunk], None]:
        """One chunk per patch; see VoxCPMEngine.stream."""
        async with aclosing(self._engine.stream(job)) as replies:
            async for reply in replies:
                yield reply

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Segments spoken and waiting, over slots. Serve asks for it by this name."""
        return self._engine.metrics().scaling_stats()

    async def ready(self) -> bool:
        self.check_health()
        return True

    def check_health(self) -> None:
        self._engine.check_health()


def _load(checkpoint: str, device: str, settings: EngineSettings, replica: str) -> VoxCPMEngine:
    files = VoxCPMCheckpoint(locate(checkpoint))
    network, new_wave_decoder = load_parts(files, device=device, dtype=dtype_named(settings.dtype))
    return VoxCPMEngine(
        network,
        new_wave_decoder,
        slots=settings.slots,
        max_length=min(settings.max_length, files.dims.max_length),
        prefill_positions=settings.prefill_positions,
        max_waiting=settings.max_waiting,
        time_dtype=dtype_named(settings.time_dtype) if settings.time_dtype else None,
        cuda_graphs=settings.cuda_graphs,
        replica=replica,
    )
