"""What the stage does with the jobs of one batch: each gets its samples or its own error."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from deployments.core.errors import InvalidRequest
from deployments.core.speech import Samples
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.vocoder import MelWindow, Vocoder, load_vocoder, vocode_windows

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VocoderStats:
    """Sums since start; frames count with their halo."""

    batches: int
    jobs: int
    frames: int
    seconds: float


class VocoderService:
    """A vocoder and its batches. Blocking: call `vocode` from a thread, one at a time.

    max_batch_frames: frames, halo included, that one pass of the network takes; a single longer job runs alone.
    `error` is set once the device has failed, after which nothing can be expected of this process.
    """

    def __init__(self, vocoder: Vocoder, *, device: torch.device | str, max_batch_frames: int) -> None:
        self.vocoder = vocoder
        self.error: Exception | None = None
        self._device = torch.device(device)
        self._max_batch_frames = max_batch_frames
        self._stats = VocoderStats(0, 0, 0, 0.0)

    def check(self, job: VocodeJob) -> None:
        """Raises InvalidRequest if the job cannot be run."""
        if job.mel.ndim != 2 or job.mel.shape[0] != self.vocoder.mel_channels:
            raise InvalidRequest(
                f"vocoder: a mel of shape {job.mel.shape}; expected ({self.vocoder.mel_channels}, frames)"
            )
        if not 0 <= job.start < job.end <= job.mel.shape[1]:
            raise InvalidRequest(
                f"vocoder: frames [{job.start}, {job.end}) of a mel with {job.mel.shape[1]} frames"
            )
        if not np.isfinite(job.mel).all():
            raise InvalidRequest("vocoder: the mel holds values that are not finite")

    def vocode(self, jobs: Sequence[VocodeJob]) -> list[Samples | Exception]:
        """Samples (hop * (end - start),) of each job."""
        results: dict[int, Samples | Exception] = {}
        for batch in self._batches(jobs):
            waves = self._each([jobs[i] for i in batch])
            results.update(zip(batch, waves, strict=True))
        return [results[i] for i in range(len(jobs))]

    def _batches(self, jobs: Sequence[VocodeJob]) -> Iterator[list[int]]:
        """Indices of jobs of equal length, as many as `max_batch_frames` allows: only those share a pass."""
        lengths = [self._frames(job) for job in jobs]
        for length in sorted(set(lengths)):
            members = [i for i, each in enumerate(lengths) if each == length]
            most = max(1, self._max_batch_frames // length)
            yield from (members[i : i + most] for i in range(0, len(members), most))

    def _frames(self, job: VocodeJob) -> int:
        halo = self.vocoder.halo_frames
        return min(job.mel.shape[1], job.end + halo) - max(0, job.start - halo)

    def _each(self, jobs: Sequence[VocodeJob]) -> list[Samples | Exception]:
        """Results of one pass; where it fails, of its members one by one: who is at fault fails alone."""
        try:
            return [*self._pass(jobs)]
        except Exception as error:
            self._note(error)
            if len(jobs) == 1:
                return [error]
        return [self._each([job])[0] for job in jobs]

    def _pass(self, jobs: Sequence[VocodeJob]) -> list[Samples]:
        began_s = time.perf_counter()
        windows = [
            MelWindow(torch.tensor(job.mel, dtype=torch.float32).to(self._device), job.start, job.end)
            for job in jobs
        ]
        samples = [wave.cpu().numpy() for wave in vocode_windows(self.vocoder, windows)]
        seconds = time.perf_counter() - began_s
        frames = sum(self._frames(job) for job in jobs)
        before = self._stats
        self._stats = VocoderStats(
            before.batches + 1, before.jobs + len(jobs), before.frames + frames, before.seconds + seconds
        )
        return samples

    def stats(self) -> VocoderStats:
        return self._stats

    def _note(self, error: Exception) -> None:
        logger.error("vocoder: a batch failed", exc_info=error)
        out_of_memory = isinstance(error, torch.OutOfMemoryError)
        if self._device.type != "cpu" and isinstance(error, RuntimeError) and not out_of_memory:
            self.error = error


def load_service(
    checkpoint: IndexTTSCheckpoint, *, device: str, dtype: torch.dtype, max_batch_frames: int
) -> VocoderService:
    """The vocoder of a checkpoint. Raises CheckpointError."""
    folder = checkpoint.path("vocoder_config").parent
    vocoder = load_vocoder(folder, checkpoint.path("vocoder"), device=device, dtype=dtype)
    return VocoderService(vocoder, device=device, max_batch_frames=max_batch_frames)
