"""Jobs of the engine, and the chunks of audio that it sends back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import InvalidRequest, TooLarge
from deployments.core.speech import Samples
from deployments.voxcpm.dims import MAX_EULER_STEPS, VoxCPMDims

Patches = npt.NDArray[np.float32]
"""(n, P, D) latent frames."""

Ended = Literal["stop", "limit"]

# A text token is expected to last no longer than so many patches; what goes on has run away (voxcpm.md 8).
PATCHES_PER_TOKEN = 6
PATCHES_BESIDE = 10
# Positions beside text and patches: the mark before the audio, and two around a reference (voxcpm.md 4).
MARKS, REFERENCE_MARKS = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class VoxCPMJob:
    """One text. The audio is a function of the job alone, with `seed` and `stream` for the noise; `stream` tells the
    segments of a request apart, and a second draw from the first."""

    request_id: str
    text_ids: tuple[
        int, ...
    ]  # of the prompt's transcript, if there is a prompt, and the text to be spoken, as one
    target_tokens: int  # of the text to be spoken alone
    seed: int
    stream: int = 0
    prompt: Patches | None = None  # transcribed audio that is continued
    reference: Patches | None = None  # audio whose voice is taken; version 2
    guidance: float = 2.0
    euler_steps: int = 10
    first_euler_steps: int | None = None  # of the first patch alone, so that it comes sooner
    min_patches: int = (
        2  # the model's wish to stop counts from patch number `min_patches` + 1 on, the first being 0
    )
    max_patches: int = 4096
    context: npt.NDArray[np.float32] | None = (
        None  # (D, T) frames the VAE has heard; None: those of the prompt
    )
    emit_patches: bool = False
    slack_s: float = 0.0  # time until a listener needs the first sample
    deadline: Deadline = NEVER
    refusable: bool = True

    def steps_of(self, patch: int) -> int:
        """Euler steps of patch number `patch`."""
        if patch == 0 and self.first_euler_steps is not None:
            return self.first_euler_steps
        return self.euler_steps


@dataclass(frozen=True, slots=True, eq=False)
class PatchChunk:
    """What one step made. The last one says why it ended: "stop", the model's own wish; "limit", it was cut off."""

    samples: Samples
    patches: Patches | None = None  # (1, P, D), if the job asked for them
    ended: Ended | None = None


def prefix_length(job: VoxCPMJob) -> int:
    """Positions before the first patch."""
    prompt = 0 if job.prompt is None else len(job.prompt)
    reference = 0 if job.reference is None else len(job.reference) + REFERENCE_MARKS
    return reference + len(job.text_ids) + MARKS + prompt


def patch_limit(job: VoxCPMJob, dims: VoxCPMDims, max_length: int) -> int:
    """How many patches the job may make at most, in rows of `max_length` positions (voxcpm.md 8).

    Raises InvalidRequest or TooLarge for a job that this model cannot do.
    """
    _check_text(job, dims)
    _check_patches(job, dims)
    _check_numbers(job)
    prefix = prefix_length(job)
    if prefix >= max_length:
        raise TooLarge(
            f"text and voice take {prefix} positions; there is room for {max_length - 1}. Shorten the text or the "
            "recording",
            param="input",
        )
    expected = PATCHES_PER_TOKEN * job.target_tokens + PATCHES_BESIDE
    return min(job.max_patches, expected, max_length - prefix)


def _check_text(job: VoxCPMJob, dims: VoxCPMDims) -> None:
    if not 1 <= job.target_tokens <= len(job.text_ids):
        raise InvalidRequest("the text has no tokens: there is nothing to be spoken", param="input")
    if not 0 <= min(job.text_ids) <= max(job.text_ids) < dims.vocabulary:
        raise InvalidRequest(
            f"text tokens {min(job.text_ids)} to {max(job.text_ids)}; this model knows 0 to {dims.vocabulary - 1}",
            param="input",
        )


def _check_patches(job: VoxCPMJob, dims: VoxCPMDims) -> None:
    if job.reference is not None and not dims.has_reference:
        raise InvalidRequest(
            "this version of VoxCPM takes a voice only from a recording with its transcript", param="voice"
        )
    size, latent_dim = dims.patch_size, dims.latent_dim
    for name, patches in (("prompt", job.prompt), ("reference", job.reference)):
        if patches is not None:
            _check_array(name, patches, (max(1, len(patches)), size, latent_dim))
    if job.context is not None:
        _check_array("context", job.context, (latent_dim, job.context.shape[-1]))


def _check_array(name: str, values: npt.NDArray[np.float32], shape: Sequence[int]) -> None:
    if values.shape != tuple(shape) or not np.isfinite(values).all():
        raise InvalidRequest(
            f"the {name} of the voice must be finite latents of shape {tuple(shape)}, got {values.shape}; was it "
            "encoded for another model?",
            param="voice",
            code="voice_of_another_model",
        )


def _check_numbers(job: VoxCPMJob) -> None:
    if not math.isfinite(job.guidance):
        raise InvalidRequest(f"the guidance must be a finite number, got {job.guidance}", param="cfg_value")
    for steps in (job.euler_steps, job.first_euler_steps):
        if steps is not None and not 1 <= steps <= MAX_EULER_STEPS:
            raise InvalidRequest(
                f"1 to {MAX_EULER_STEPS} Euler steps are possible, got {steps}", param="inference_timesteps"
            )
    if job.max_patches < 1 or job.min_patches < 0:
        raise InvalidRequest(
            f"max_patches must be at least 1 and min_patches at least 0, got {job.max_patches} and "
            f"{job.min_patches}"
        )
    if math.isnan(job.slack_s):
        raise InvalidRequest("slack_s must be a number of seconds", param="slack_s")
