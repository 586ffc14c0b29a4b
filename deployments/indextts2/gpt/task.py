"""A job that was checked and whose voice lies on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from deployments.core.errors import InvalidRequest
from deployments.indextts2.dims import GptDims
from deployments.indextts2.gpt.job import GptJob, Sampling
from deployments.indextts2.gpt.settings import DecodingSettings


@dataclass(frozen=True, slots=True, eq=False)
class GptTask:
    job: GptJob
    settings: DecodingSettings
    latents: Tensor  # (condition_num_latent, D) of the speaker

    @property
    def streams(self) -> bool:
        return self.job.emit_codes > 0

    @property
    def slots(self) -> int:
        """One per beam, and one for the latents if they are made while codes are."""
        return slots_of(self.settings, self.job.emit_codes)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one replica can hold."""

    slots: int
    max_length: int  # positions of a slot


def checked_settings(job: GptJob, dims: GptDims, limits: Limits) -> DecodingSettings:
    """How the job will be decoded. Raises InvalidRequest for what cannot be done, whatever the voice.

    `max_codes` is lowered to what a slot has room for; a segment that runs into it says `limit_reached`.
    """
    _check_text(job.text_ids, dims)
    if job.emotion.shape != (dims.model_dim,) or not np.isfinite(job.emotion).all():
        raise InvalidRequest(
            f"the emotion vector must be {dims.model_dim} finite numbers, got shape {job.emotion.shape}",
            param="emotion",
        )
    if job.emit_codes < 0:
        raise InvalidRequest(f"emit_codes must be at least 0, got {job.emit_codes}", param="emit_codes")
    if np.isnan(job.slack_s):
        raise InvalidRequest("slack_s must be a number of seconds", param="slack_s")
    settings = decoding_settings(job.sampling)
    most = dims.max_mel_tokens - 1
    if settings.max_codes > most:
        raise InvalidRequest(f"max_codes may be {most} with this model", param="max_codes")
    needed = slots_of(settings, job.emit_codes)
    if needed > limits.slots:
        latents = " and one for latents" if job.emit_codes else ""
        raise InvalidRequest(
            f"num_beams {settings.num_beams} needs a row per beam{latents}, {needed} in all; this server has "
            f"{limits.slots}",
            param="num_beams",
        )
    room = limits.max_length - prefix_length(job.text_ids, dims)
    if room < 1:
        raise InvalidRequest(
            f"this server has room for {limits.max_length} positions per segment, and the text alone takes "
            f"{limits.max_length - room}; split it",
            param="input",
        )
    return replace(settings, max_codes=min(settings.max_codes, room))


def decoding_settings(sampling: Sampling) -> DecodingSettings:
    """Raises InvalidRequest if a value is out of its range."""
    return DecodingSettings(
        do_sample=sampling.sample,
        num_beams=sampling.beams,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        temperature=sampling.temperature,
        repetition_penalty=sampling.repetition_penalty,
        length_penalty=sampling.length_penalty,
        max_codes=sampling.max_codes,
        typical_mass=sampling.typical_mass,
    )


def slots_of(settings: DecodingSettings, emit_codes: int) -> int:
    return settings.num_beams + (1 if emit_codes > 0 else 0)


def prefix_length(text_ids: Sequence[int], dims: GptDims) -> int:
    """Rows of SpeechGpt.prefix."""
    return dims.condition_num_latent + 2 + len(_spoken(text_ids, dims)) + 2


def _spoken(text_ids: Sequence[int], dims: GptDims) -> list[int]:
    return [i for i in text_ids if i not in (dims.start_text_token, dims.stop_text_token)]


def _check_text(text_ids: Sequence[int], dims: GptDims) -> None:
    spoken = _spoken(text_ids, dims)
    if not spoken:
        raise InvalidRequest("a segment of text has no tokens: there is nothing to be spoken", param="input")
    if len(spoken) > dims.max_text_tokens:
        raise InvalidRequest(
            f"a text segment may have {dims.max_text_tokens} tokens, got {len(spoken)}; split it",
            param="input",
        )
    if not 0 <= min(spoken) <= max(spoken) <= dims.number_text_tokens:
        raise InvalidRequest(
            f"text tokens {min(spoken)} to {max(spoken)}; this model knows 0 to {dims.number_text_tokens}",
            param="input",
        )
