"""S2Mel as a step model: a row is a chunk on its way from noise to mel, a step is one Euler step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deployments.core.errors import InvalidRequest, SpeechError
from deployments.engine.noise import normals
from deployments.engine.step_model import Outcome
from deployments.indextts2.s2mel.code_embedding import CodeEmbedding
from deployments.indextts2.s2mel.device_voice import DeviceVoice, DeviceVoices
from deployments.indextts2.s2mel.flow import FlowRow, FlowSolver
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.s2mel.networks import S2MelNetworks
from deployments.indextts2.s2mel.regulator import target_frames
from deployments.voices.profile import VoiceProfile

Mel = npt.NDArray[np.float32]
RUNNING: Outcome[Mel] = Outcome()


@dataclass(frozen=True, slots=True)
class MelTask:
    """A job whose voice was found: on the device, or as a profile that is still to be brought there."""

    job: S2MelJob
    voice: DeviceVoice | VoiceProfile


class MelModel:
    """Satisfies StepModel[MelTask, FlowRow, Mel]; the output is the new frames (80, L - F0).

    Cost is counted in frames that the estimator computes, padding included.
    """

    def __init__(self, networks: S2MelNetworks, embedding: CodeEmbedding, *, voice_cache_bytes: int) -> None:
        self.voices = DeviceVoices(networks, embedding, max_bytes=voice_cache_bytes)
        self._networks = networks
        self._embedding = embedding
        self._solver = FlowSolver(networks.estimator)
        self._mel_channels = networks.dims.estimator.mel_channels
        self._latent_width = networks.dims.gpt_layer[0]

    def check(self, job: S2MelJob) -> None:
        """Raises InvalidRequest if the job cannot be run, whatever its voice."""
        n = len(job.codes)
        known = self._embedding.codebook.num_embeddings
        shapes = (job.codes.shape, job.latents.shape, job.committed.shape[:1])
        if shapes != ((n,), (n, self._latent_width), (self._mel_channels,)) or job.committed.ndim != 2:
            raise InvalidRequest(
                f"s2mel: codes {job.codes.shape}, latents {job.latents.shape}, committed {job.committed.shape}; "
                f"expected (n,), (n, {self._latent_width}), ({self._mel_channels}, frames)"
            )
        if n == 0:
            raise InvalidRequest("s2mel: there are no codes, so there is nothing to be spoken")
        if not 0 <= int(job.codes.min()) <= int(job.codes.max()) < known:
            raise InvalidRequest(
                f"s2mel: codes {job.codes.min()} to {job.codes.max()}; only 0 to {known - 1} stand for sound"
            )
        if job.committed.shape[1] >= (frames := target_frames(n)):
            raise InvalidRequest(
                f"s2mel: {n} codes make {frames} frames, and {job.committed.shape[1]} are committed already; "
                "send more codes"
            )
        if job.steps < 1 or not 0 <= job.guidance < np.inf:
            raise InvalidRequest(
                f"s2mel: {job.steps} steps with guidance {job.guidance}; at least 1 step and a guidance of "
                "0 or more are needed"
            )

    def width(self, task: MelTask) -> int:
        return 1

    @torch.inference_mode()
    def admit(self, task: MelTask) -> FlowRow:
        job, voice = task.job, self._voice(task)
        total, committed = target_frames(len(job.codes)), job.committed.shape[1]
        first = voice.mel.shape[1] + committed
        noise = np.zeros((self._mel_channels, voice.mel.shape[1] + total), np.float32)
        noise[:, first:] = normals(job.seed, job.stream, committed, total - committed, self._mel_channels)
        try:
            return self._solver.admit(
                torch.from_numpy(noise),
                torch.cat([voice.mel, self._on_device(job.committed)], dim=1),
                torch.cat([voice.condition, self._condition(job, total)]),
                voice.style,
                guidance=job.guidance,
                open_end=job.open_end,
                steps=job.steps,
            )
        except ValueError as error:
            raise InvalidRequest(f"s2mel: {error}") from error

    def _voice(self, task: MelTask) -> DeviceVoice:
        if isinstance(task.voice, DeviceVoice):
            return task.voice
        key = task.job.voice.key
        # Jobs that came together all missed; the first one has made it.
        return self.voices.get(key) or self.voices.make(key, task.voice)

    def _condition(self, job: S2MelJob, total: int) -> Tensor:
        """All codes so far -> (L, C) (indextts2-back.md 3)."""
        latents = self._networks.gpt_layer(self._on_device(job.latents))
        features = self._embedding(torch.tensor(job.codes)) + latents
        (condition,) = self._networks.length_regulator([features], [total])
        return condition

    def _on_device(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.tensor(array).to(self._solver.device)  # a copy: what Ray hands over is read-only

    def cost(self, rows: Sequence[FlowRow]) -> int:
        return max(row.frames for row in rows) * sum(row.network_rows for row in rows)

    def step(self, rows: Sequence[FlowRow]) -> list[Outcome[Mel]]:
        self._solver.advance(rows)
        return [_outcome(row) if row.done else RUNNING for row in rows]

    def release(self, row: FlowRow) -> None:
        """Nothing to do: a row holds only its own tensors."""


def _outcome(row: FlowRow) -> Outcome[Mel]:
    mel = row.mel().cpu().numpy()
    if not np.isfinite(mel).all():
        return Outcome(
            error=SpeechError("s2mel: the mel is not finite; are the latents, or is the dtype too narrow?")
        )
    return Outcome((mel,), done=True)
