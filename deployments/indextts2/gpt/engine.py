"""The GPT's engine: codes of all segments are generated together, rows join and leave between codes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import torch
from torch import Tensor

from deployments.core.deadline import before
from deployments.core.errors import InvalidRequest
from deployments.core.logs import RequestLogger
from deployments.core.metrics import Reply, StageMetrics
from deployments.engine.step_engine import StepEngine
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.code_model import CodeModel
from deployments.indextts2.gpt.job import CodeChunk, GptJob, SlotLimits, checked_params
from deployments.indextts2.gpt.model import SpeechGpt, load_gpt
from deployments.indextts2.gpt.positions import POSITIONS
from deployments.indextts2.gpt.row import CodeRow, GptTask
from deployments.indextts2.settings import GptSettings
from deployments.voices.cache import ByteLRU
from deployments.voices.profile import VoiceProfile


class GptEngine:
    """Keeps the voices that it spoke with last on the device."""

    def __init__(self, model: SpeechGpt, settings: GptSettings, *, replica: str = "") -> None:
        """Blocks while graphs are captured. The model belongs to the engine from here on: its weights are packed.

        `replica` names this process in the metrics.
        """
        model.pack()
        if settings.compile:
            model.compile()
        self.limits = SlotLimits(settings.slots, settings.max_length or model.longest)
        self.voices: ByteLRU[Tensor] = ByteLRU(settings.voice_cache_mb << 20, lambda latents: latents.nbytes)
        self._gpt = model
        self._model = CodeModel(
            model,
            self.limits,
            prefill_rows=settings.prefill_rows,
            cuda_graphs=settings.cuda_graphs,
            position=POSITIONS[settings.positions],
        )
        self._engine: StepEngine[GptTask, CodeRow, CodeChunk] = StepEngine(
            self._model,
            name="gpt",
            max_rows=settings.slots,
            max_step_cost=settings.slots,
            max_waiting=settings.max_waiting,
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

    async def stream(self, job: GptJob) -> AsyncGenerator[Reply[CodeChunk], None]:
        """Chunks of `emit_codes` codes, the last one `finished`; one chunk for emit_codes 0.

        Closing the generator frees the slots before the next step. Raises InvalidRequest for a job that cannot be
        run, Overloaded, Unavailable, DeadlineExceeded.
        """
        params = checked_params(job, self._gpt.dims, self.limits)
        if params.max_codes < job.params.max_codes:
            RequestLogger(job.request_id).debug("gpt: a slot has room for %d codes", params.max_codes)
        task = GptTask(job, params, await self._latents(job))
        outputs = self._engine.run(task, slack_s=job.slack_s, deadline=job.deadline, refusable=job.refusable)
        async with aclosing(outputs) as chunks:
            async for chunk in chunks:
                yield self._engine.reply(chunk)

    async def _latents(self, job: GptJob) -> Tensor:
        key = job.voice.key
        latents = self.voices.get(key)
        if latents is None:
            profile = await before(job.deadline, job.voice.profile, "the voice has not come")
            latents = self._on_device(profile)
            self.voices.put(key, latents)
        return latents

    def _on_device(self, profile: VoiceProfile) -> Tensor:
        dims = self._gpt.dims
        expected = (dims.condition_num_latent, dims.model_dim)
        shape = profile["speaker_latents"].shape if "speaker_latents" in profile else None
        if shape != expected:
            raise InvalidRequest(
                f"the voice was encoded for another model (speaker_latents {shape}, {expected} are needed); "
                "register it again",
                param="voice",
                code="voice_of_another_model",
            )
        # A copy: what Ray hands over is read-only.
        return torch.tensor(profile["speaker_latents"]).to(self._gpt.device, self._gpt.dtype)


def load_model(checkpoint: IndexTTSCheckpoint, *, device: str, dtype: torch.dtype) -> SpeechGpt:
    """Reads only the GPT's own tensors of gpt.pth; the conditioning encoders stay on disk. Raises CheckpointError."""
    checkpoint.require("gpt")
    return load_gpt(
        checkpoint.tensors("gpt"),
        checkpoint.gpt_dims,
        source=str(checkpoint.path("gpt")),
        device=device,
        dtype=dtype,
    )
