"""The GPT's engine: codes of all segments are generated together, rows join and leave between codes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import torch
from torch import Tensor

from deployments.core.errors import InvalidRequest
from deployments.engine.engine_stats import EngineStats
from deployments.engine.step_engine import StepEngine
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.code_model import CodeModel
from deployments.indextts2.gpt.code_row import CodeRow
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.gpt.model import SpeechGpt, load_gpt
from deployments.indextts2.gpt.task import GptTask, Limits, checked_settings
from deployments.voices.cache import ByteLRU, CacheStats
from deployments.voices.profile import VoiceProfile
from deployments.voices.ticket import VoiceTicket


@dataclass(frozen=True, slots=True)
class GptStats:
    engine: EngineStats
    voices: CacheStats
    slots: int
    free_slots: int


class GptEngine:
    """slots: sequences that are generated at the same time, where a beam search counts each beam and a stream one
    more for its latents; max_length: positions of a slot, prefix and codes; max_waiting: slots that may be waited
    for beyond; prefill_rows: rows of new prefixes that one step takes, so that running rows do not stall.
    """

    def __init__(
        self,
        model: SpeechGpt,
        *,
        slots: int,
        max_waiting: int,
        max_length: int | None = None,
        prefill_rows: int = 256,
        voice_cache_bytes: int = 64 << 20,
        cuda_graphs: bool = False,
        compile: bool = False,
    ) -> None:
        """Blocks while graphs are captured. The model belongs to the engine from here on: its weights are packed."""
        model.pack()
        if compile:
            model.compile()
        self.limits = Limits(slots, max_length or model.longest)
        self.voices: ByteLRU[Tensor] = ByteLRU(voice_cache_bytes, lambda latents: latents.nbytes)
        self._gpt = model
        self._model = CodeModel(model, self.limits, prefill_rows=prefill_rows, cuda_graphs=cuda_graphs)
        self._engine: StepEngine[GptTask, CodeRow, CodeChunk] = StepEngine(
            self._model, name="gpt", max_rows=slots, max_step_cost=slots, max_waiting=max_waiting
        )

    def start(self) -> None:
        self._engine.start()

    def stop(self) -> None:
        self._engine.stop()

    async def stream(self, job: GptJob) -> AsyncGenerator[CodeChunk, None]:
        """Chunks of `emit_codes` codes, the last one `finished`; one chunk for emit_codes 0.

        Closing the generator frees the slots before the next step. Raises InvalidRequest for a job that cannot be
        run, Overloaded, Unavailable.
        """
        settings = checked_settings(job, self._gpt.dims, self.limits)
        task = GptTask(job, settings, await self._latents(job.voice))
        async with aclosing(self._engine.run(task, slack_s=job.slack_s)) as chunks:
            async for chunk in chunks:
                yield chunk

    def stats(self) -> GptStats:
        return GptStats(self._engine.stats(), self.voices.stats(), self.limits.slots, self._model.free_slots)

    def check_health(self) -> None:
        self._engine.check_health()

    async def _latents(self, voice: VoiceTicket) -> Tensor:
        known = self.voices.get(voice.key)
        if known is not None:
            return known
        latents = self._on_device(await voice.profile)
        self.voices.put(voice.key, latents)
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
