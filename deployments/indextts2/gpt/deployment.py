"""What Serve calls for the GPT stage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from deployments.core.metrics import Reply
from deployments.core.stages import replica_name
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.engine import GptEngine, load_model
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.settings import GptSettings
from deployments.weights.registry import locate
from deployments.weights.tensors import dtype_named


class Gpt:
    """One replica: one set of weights, one cache of slots, one step loop.

    Call it by reference: the voice inside a job is an object reference, which gRPC messages would keep alive for ever.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, checkpoint: str, device: str, settings: GptSettings
    ) -> None:
        """`checkpoint`: a name to pull, or a path. Raises CheckpointError."""
        replica = replica_name()
        self._engine = await asyncio.to_thread(_load, checkpoint, device, settings, replica)
        self._engine.start()

    async def stream(self, job: GptJob) -> AsyncGenerator[Reply[CodeChunk], None]:
        """Chunks of codes with their latents; see GptEngine.stream."""
        async with aclosing(self._engine.stream(job)) as replies:
            async for reply in replies:
                yield reply

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Sequences decoded and waiting, over slots. Serve asks for it by this name."""
        return self._engine.metrics().scaling_stats()

    async def ready(self) -> bool:
        self.check_health()
        return True

    def check_health(self) -> None:
        self._engine.check_health()


def _load(checkpoint: str, device: str, settings: GptSettings, replica: str) -> GptEngine:
    files = IndexTTSCheckpoint(locate(checkpoint))
    model = load_model(files, device=device, dtype=dtype_named(settings.dtype))
    return GptEngine(model, settings, replica=replica)
