"""What Serve calls for the Vocoder stage."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve

from deployments.core.errors import Unavailable
from deployments.core.speech import Samples
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.service import VocoderStats, load_service
from deployments.weights.dtypes import dtype_named
from deployments.weights.locate import locate


class Vocoder:
    """One replica: one set of weights; windows that arrive together are vocoded together."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        checkpoint: str,
        device: str = "cpu",
        dtype: str = "float32",
        max_batch: int = 8,
        batch_wait_s: float = 0.0,
        max_batch_frames: int = 4096,
        type: str | None = None,
    ) -> None:
        """`checkpoint`: a name to pull, or a path; `type`: bigvgan or istft, None as it says itself.

        A lone job waits `batch_wait_s`; while one batch runs, the next one gathers, so 0 is no bad choice.
        `max_ongoing_requests` should be 2 * max_batch or more.
        """
        batched: Any = self._vocode_batch  # Serve hangs these setters on the methods it decorates
        batched.set_max_batch_size(max_batch)
        batched.set_batch_wait_timeout_s(batch_wait_s)
        self._service = await asyncio.to_thread(
            lambda: load_service(
                IndexTTSCheckpoint(locate(checkpoint), vocoder=type),
                device=device,
                dtype=dtype_named(dtype),
                max_batch_frames=max_batch_frames,
            )
        )

    async def vocode(self, job: VocodeJob) -> Samples:
        """Samples (hop * (end - start),) of frames [start, end). Raises InvalidRequest for a senseless job."""
        self._service.check(job)
        result = await self._vocode_batch(job)
        if isinstance(result, Exception):
            raise result
        return result

    # An exception that is raised here would fail the whole batch; one that is returned is one job's result.
    @serve.batch
    async def _vocode_batch(self, jobs: list[VocodeJob]) -> list[Samples | Exception]:
        return await asyncio.to_thread(self._service.vocode, jobs)

    async def halo(self) -> tuple[int, int, int]:
        """halo_frames, hop (samples per frame), sample_rate_hz."""
        vocoder = self._service.vocoder
        return vocoder.halo_frames, vocoder.hop, vocoder.sample_rate_hz

    async def stats(self) -> VocoderStats:
        return self._service.stats()

    async def ready(self) -> bool:
        self.check_health()
        return True

    def check_health(self) -> None:
        if self._service.error:
            raise Unavailable(f"vocoder: the device has failed ({self._service.error})")
