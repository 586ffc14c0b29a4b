"""S2Mel's engine: Euler steps of chunks of all requests, each at its own time, share batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from deployments.engine.engine_stats import EngineStats
from deployments.engine.step_engine import StepEngine
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.s2mel.code_embedding import CodeEmbedding, load_code_embedding
from deployments.indextts2.s2mel.flow import FlowRow
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.s2mel.mel_model import Mel, MelModel, MelTask
from deployments.indextts2.s2mel.networks import S2MelNetworks, load_s2mel
from deployments.voices.cache import CacheStats


@dataclass(frozen=True, slots=True)
class S2MelStats:
    engine: EngineStats
    voices: CacheStats


class S2MelEngine:
    """max_rows: chunks under way; max_step_frames: frames of all rows of one step, guided rows twice and padding
    included; max_waiting: chunks that may wait beyond."""

    def __init__(
        self,
        networks: S2MelNetworks,
        embedding: CodeEmbedding,
        *,
        max_rows: int,
        max_step_frames: int,
        max_waiting: int,
        voice_cache_bytes: int,
    ) -> None:
        self._model = MelModel(networks, embedding, voice_cache_bytes=voice_cache_bytes)
        self._engine: StepEngine[MelTask, FlowRow, Mel] = StepEngine(
            self._model,
            name="s2mel",
            max_rows=max_rows,
            max_step_cost=max_step_frames,
            max_waiting=max_waiting,
        )

    def start(self) -> None:
        self._engine.start()

    def stop(self) -> None:
        self._engine.stop()

    async def mel(self, job: S2MelJob) -> Mel:
        """New frames (80, L - F0) float32 of log-mel, L = floor(1.72 n) of all n codes (indextts2-back.md 3, 4).

        Raises InvalidRequest for a job that makes no sense, Overloaded, Unavailable.
        """
        self._model.check(job)
        voice = self._model.voices.get(job.voice.key) or await job.voice.profile
        return await self._engine.result(MelTask(job, voice), slack_s=job.slack_s)

    def stats(self) -> S2MelStats:
        return S2MelStats(self._engine.stats(), self._model.voices.stats())

    def check_health(self) -> None:
        self._engine.check_health()


def load_networks(
    checkpoint: IndexTTSCheckpoint, *, device: str, dtype: torch.dtype
) -> tuple[S2MelNetworks, CodeEmbedding]:
    """Of s2mel.pth and the semantic codec; nothing else is read. Raises CheckpointError."""
    checkpoint.require("s2mel")
    networks = load_s2mel(checkpoint.path("s2mel"), checkpoint.config, device=device, dtype=dtype)
    return networks, load_code_embedding(checkpoint.path("semantic_codec"), device=device)
