"""One job in the engine: its prefix, its noise, and when it ends."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deployments.core.errors import SpeechError
from deployments.engine.noise import normals
from deployments.engine.step_model import Outcome
from deployments.voxcpm.step.decoding import MadePatch, PatchTask
from deployments.voxcpm.step.job import Ended, PatchChunk, VoxCPMJob
from deployments.voxcpm.step.prefix import Prefix

NOISE_PATCHES = 8  # of which the noise is made at once: one call costs more than the numbers


class PatchRow:
    """Takes in its prefix first; then each step makes a patch: `task` before the network runs, `take` after it."""

    def __init__(
        self, job: VoxCPMJob, slot: int, limit: int, patch_shape: tuple[int, int], patch_s: float
    ) -> None:
        """limit: patches at most; patch_shape: (P, D); patch_s: how long a patch is heard."""
        self.job = job
        self.slot = slot
        self.prefix = Prefix(job, slot, patch_shape)
        self.made = 0
        self._limit = limit
        self._patch_shape = patch_shape
        self._patch_s = patch_s
        self._noise: npt.NDArray[np.float32]  # of patches made − made % NOISE_PATCHES and following

    @property
    def is_new(self) -> bool:
        return not self.prefix.begun

    @property
    def task(self) -> PatchTask:
        job = self.job
        return PatchTask(self.slot, self._next_noise(), job.guidance, job.steps_of(self.made))

    def take(self, patch: MadePatch) -> Outcome[PatchChunk]:
        if not np.isfinite(patch.samples).all():
            return Outcome(
                error=SpeechError(
                    "voxcpm: the audio is not finite; is the voice sound, or the dtype too narrow?"
                )
            )
        ended: Ended | None = None
        if self.made > self.job.min_patches and patch.stop:
            ended = "stop"
        elif self.made + 1 >= self._limit:
            ended = "limit"
        self.made += 1
        chunk = PatchChunk(patch.samples, patch.patches if self.job.emit_patches else None, ended)
        return Outcome((chunk,), done=ended is not None, made_s=self._patch_s)

    def _next_noise(self) -> npt.NDArray[np.float32]:
        """(P, D): a function of seed, stream and the number of the patch."""
        size, channels = self._patch_shape
        place = self.made % NOISE_PATCHES
        if place == 0:
            first, frames = self.made * size, NOISE_PATCHES * size
            self._noise = normals(self.job.seed, self.job.stream, first, frames, channels).T
        return self._noise[place * size : (place + 1) * size]
