"""VoxCPM's engine: patches of all requests, at any place of their texts, share batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import torch

from deployments.core.metrics import Reply, StageMetrics
from deployments.engine.step_engine import StepEngine
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.network import VoxCPMNetwork
from deployments.voxcpm.step.decoding import WaveDecoder
from deployments.voxcpm.step.job import PatchChunk, VoxCPMJob, patch_limit
from deployments.voxcpm.step.model import PatchModel
from deployments.voxcpm.step.row import PatchRow
from deployments.voxcpm.vae.decoder import StreamingDecoder, load_decoder
from deployments.weights.tensors import dtype_named


class VoxCPMEngine:
    def __init__(
        self,
        network: VoxCPMNetwork,
        new_wave_decoder: Callable[[int], WaveDecoder],
        *,
        slots: int,
        step_rows: int | None = None,
        max_length: int | None = None,
        prefill_positions: int = 512,
        max_waiting: int = 64,
        time_dtype: torch.dtype | None = None,
        cuda_graphs: bool = True,
        replica: str = "",
    ) -> None:
        """Blocks while graphs are captured.

        step_rows: rows that one step takes at most, those whose listeners need it first; None: all slots. max_length:
        positions of a row; None, or more than the model knows: those that it knows. time_dtype: None: that of the
        model's training. `replica` names this process in the metrics.
        """
        dims = network.dims
        self.dims = dims
        self.max_length = min(max_length or dims.max_length, dims.max_length)
        self.model = PatchModel(
            network,
            new_wave_decoder,
            slots=slots,
            max_length=self.max_length,
            prefill_positions=prefill_positions,
            time_dtype=time_dtype or dtype_named(dims.dtype),
            cuda_graphs=cuda_graphs,
        )
        self._engine: StepEngine[VoxCPMJob, PatchRow, PatchChunk] = StepEngine(
            self.model,
            name="voxcpm",
            max_rows=slots,
            max_step_cost=step_rows or slots,
            max_waiting=max_waiting,
            replica=replica,
        )

    def start(self) -> None:
        self._engine.start()

    def stop(self) -> None:
        self._engine.stop()

    def check_health(self) -> None:
        self._engine.check_health()

    def metrics(self) -> StageMetrics:
        return self._engine.metrics()

    async def stream(self, job: VoxCPMJob) -> AsyncGenerator[Reply[PatchChunk], None]:
        """One chunk per patch, the last one with the reason why it ended.

        Closing the generator frees the slot before the next step. Raises InvalidRequest or TooLarge for a job that
        cannot be run, Overloaded, Unavailable, DeadlineExceeded.
        """
        patch_limit(job, self.dims, self.max_length)
        outputs = self._engine.run(job, slack_s=job.slack_s, deadline=job.deadline, refusable=job.refusable)
        async with aclosing(outputs) as chunks:
            async for chunk in chunks:
                yield self._engine.reply(chunk)


def load_parts(
    checkpoint: VoxCPMCheckpoint, *, device: str, dtype: torch.dtype
) -> tuple[VoxCPMNetwork, Callable[[int], WaveDecoder]]:
    """The networks, and what makes the decoder of all streams from a number of slots. The VAE computes in float32, as
    it was trained. Raises CheckpointError."""
    network = checkpoint.network(device=device, dtype=dtype)
    decoder = load_decoder(
        checkpoint.vae_tensors, checkpoint.dims.vae, source=str(checkpoint.path("audiovae")), device=device
    )
    return network, lambda slots: StreamingDecoder(decoder, slots, device)
