"""Jobs of the GPT stage, what they need of a replica, and the chunks of codes that it sends back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import InvalidRequest
from deployments.indextts2.dims import SPEED_ROWS, GptDims
from deployments.indextts2.sampling import Params
from deployments.indextts2.traits import Traits
from deployments.voices.sharing import SharedVoice


@dataclass(frozen=True, slots=True)
class GptJob:
    """One segment of text. The codes are a function of the job alone, with `seed` and `stream` for what is drawn;
    `stream` tells the segments of a request apart, and a second draw from the first."""

    request_id: str
    voice: SharedVoice
    emotion: npt.NDArray[np.float32]  # (D,), already mixed; added to every speaker latent
    text_ids: tuple[int, ...]  # without start and stop, which are dropped where they are in it
    params: Params
    seed: int
    stream: int = 0
    language_id: int | None = None  # for a model with a table of languages
    emit_codes: int = 0  # codes per CodeChunk; 0: one chunk with everything at the end
    slack_s: float = 0.0  # time until a listener needs the first sample of this segment
    code_s: float = 0.0  # audio of one code; 0: nobody listens while codes are made
    deadline: Deadline = NEVER
    refusable: bool = True


@dataclass(frozen=True, slots=True)
class CodeChunk:
    """The next codes of a segment with their latents (indextts2-front.md 8), where the model has any. The last one is
    `finished`."""

    codes: npt.NDArray[np.int64]  # (n,), without the stop code; n may be 0 in the last chunk
    latents: npt.NDArray[np.float32]  # (n, D); (n, 0) of a model without
    finished: bool
    limit_reached: bool = False  # the model did not stop by itself


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """What one replica can hold: sequences, and positions of each (prefix, start code and codes)."""

    slots: int
    max_length: int


def slots_of(params: Params, traits: Traits, *, streams: bool) -> int:
    """Slots that a segment holds: one per beam, and one for the latents if they are made while codes are."""
    return params.num_beams + (1 if streams and traits.speaks_latents else 0)


def job_slots(job: GptJob, dims: GptDims) -> int:
    return slots_of(job.params, dims.traits, streams=job.emit_codes > 0)


def checked_params(job: GptJob, dims: GptDims, limits: SlotLimits) -> Params:
    """The job's parameters with `max_codes` lowered to what a slot has room for; a segment that runs into it says
    `limit_reached`. Raises InvalidRequest for a job that this model or this replica cannot do, whatever the voice.
    """
    _check_text(job.text_ids, dims)
    _check_language(job.language_id, dims.traits)
    if job.emotion.shape != (dims.model_dim,) or not np.isfinite(job.emotion).all():
        raise InvalidRequest(
            f"the emotion vector must be {dims.model_dim} finite numbers, got shape {job.emotion.shape}",
            param="emotion",
        )
    if job.emit_codes < 0:
        raise InvalidRequest(f"emit_codes must be at least 0, got {job.emit_codes}", param="emit_codes")
    if np.isnan(job.slack_s):
        raise InvalidRequest("slack_s must be a number of seconds", param="slack_s")
    params, most = job.params, dims.max_mel_tokens - 1
    if params.max_codes > most:
        raise InvalidRequest(f"max_codes may be {most} with this model", param="max_codes")
    slots = job_slots(job, dims)
    if slots > limits.slots:
        latents = " and one for latents" if slots > params.num_beams else ""
        raise InvalidRequest(
            f"num_beams {params.num_beams} needs a row per beam{latents}, {slots} in all; this server has "
            f"{limits.slots}",
            param="num_beams",
        )
    prefix = prefix_length(job.text_ids, dims)
    room = limits.max_length - prefix
    if room < 1:
        raise InvalidRequest(
            f"this server has room for {limits.max_length} positions per segment, and the text alone takes "
            f"{prefix}; split it",
            param="input",
        )
    return params.model_copy(update={"max_codes": min(params.max_codes, room)})


def prefix_length(text_ids: Sequence[int], dims: GptDims) -> int:
    """Rows of SpeechGpt.prefix."""
    return dims.condition_num_latent + SPEED_ROWS + len(_spoken(text_ids, dims)) + 2


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


def _check_language(language_id: int | None, traits: Traits) -> None:
    rows = traits.language_rows
    if rows and (language_id is None or not 0 <= language_id < rows):
        raise InvalidRequest(f"language id {language_id}; this model knows 0 to {rows - 1}", param="language")
    if not rows and language_id is not None:
        raise InvalidRequest("this model takes no language id", param="language")
