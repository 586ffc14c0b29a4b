"""What Serve calls for the GPT stage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.engine import GptEngine, GptStats, load_model
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.weights.dtypes import dtype_named
from deployments.weights.locate import locate


class Gpt:
    """One replica: one set of weights, one cache of slots, one step loop."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        checkpoint: str,
        device: str = "cpu",
        dtype: str = "float32",
        slots: int = 32,
        max_length: int | None = None,
        max_waiting: int = 64,
        prefill_rows: int = 256,
        voice_cache_mb: int = 64,
        cuda_graphs: bool = True,
        compile: bool = False,
    ) -> None:
        """`checkpoint`: a name to pull, or a path. `max_length`: positions of a slot, null for all the model has.

        `max_ongoing_requests` should be slots + max_waiting or more. Without a GPU the last two have no effect.
        """

        def load() -> GptEngine:
            model = load_model(
                IndexTTSCheckpoint(locate(checkpoint)), device=device, dtype=dtype_named(dtype)
            )
            return GptEngine(
                model,
                slots=slots,
                max_length=max_length,
                max_waiting=max_waiting,
                prefill_rows=prefill_rows,
                voice_cache_bytes=voice_cache_mb << 20,
                cuda_graphs=cuda_graphs,
                compile=compile,
            )

        self._engine = await asyncio.to_thread(load)
        self._engine.start()

    async def stream(self, job: GptJob) -> AsyncGenerator[CodeChunk, None]:
        """Chunks of codes with their latents; see GptEngine.stream."""
        async with aclosing(self._engine.stream(job)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def stats(self) -> GptStats:
        return self._engine.stats()

    async def ready(self) -> bool:
        self.check_health()
        return True

    def check_health(self) -> None:
        self._engine.check_health()
