"""What Serve calls for the S2Mel stage."""

from __future__ import annotations

import asyncio

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.s2mel.engine import S2MelEngine, S2MelStats, load_networks
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.s2mel.mel_model import Mel
from deployments.weights.dtypes import dtype_named
from deployments.weights.locate import locate


class S2Mel:
    """One replica: one set of weights, one step loop."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        checkpoint: str,
        device: str = "cpu",
        dtype: str = "float32",
        max_rows: int = 16,
        max_step_frames: int = 16384,
        max_waiting: int = 64,
        voice_cache_mb: int = 256,
    ) -> None:
        """`checkpoint`: a name to pull, or a path. `max_ongoing_requests` should be max_rows + max_waiting or more."""
        networks, embedding = await asyncio.to_thread(
            lambda: load_networks(
                IndexTTSCheckpoint(locate(checkpoint)), device=device, dtype=dtype_named(dtype)
            )
        )
        self._engine = S2MelEngine(
            networks,
            embedding,
            max_rows=max_rows,
            max_step_frames=max_step_frames,
            max_waiting=max_waiting,
            voice_cache_bytes=voice_cache_mb << 20,
        )
        self._engine.start()

    async def mel(self, job: S2MelJob) -> Mel:
        """New frames (80, L - F0) float32; see S2MelEngine.mel."""
        return await self._engine.mel(job)

    async def stats(self) -> S2MelStats:
        return self._engine.stats()

    async def ready(self) -> bool:
        self.check_health()
        return True

    def check_health(self) -> None:
        self._engine.check_health()
