"""One request from prefix to codes and latents in a plain loop: as the reference runs it, without an engine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deployments.core.errors import InvalidRequest
from deployments.indextts2.gpt.decoding import DecodedCodes, NextCodes, new_decoder
from deployments.indextts2.gpt.model import PIECE, SpeechGpt
from deployments.indextts2.gpt.positions import Position, generation_position
from deployments.indextts2.gpt.selection import Selection
from deployments.indextts2.sampling import Params


@torch.inference_mode()
def generate(
    model: SpeechGpt,
    prefix: Tensor,
    params: Params,
    *,
    seed: int,
    stream: int = 0,
    position: Position = generation_position,
) -> DecodedCodes:
    """Prefix (P,D) without the start code -> codes: those that the engine makes of the same job.

    Raises InvalidRequest if `max_codes` is more than the model can, FloatingPointError if scores are not finite.
    """
    if params.max_codes > model.max_codes:
        raise InvalidRequest(f"max_codes may be {model.max_codes} with this model", param="max_codes")
    slots = tuple(range(params.num_beams))
    cache = model.new_cache(len(slots), len(prefix) + params.max_codes)
    selection = Selection(model.dims, len(slots), model.device)
    selection.open(slots)
    decoder = new_decoder(params, slots, model.dims, seed, stream)

    pieces = torch.cat([prefix, model.start()]).split(PIECE)
    hidden = model.extend(cache, [(0, piece) for piece in pieces])[-1][-1:]
    cache.copy(0, slots[1:], cache.lengths[0])
    hidden = hidden.expand(len(slots), -1)
    while True:
        (chosen,) = selection.choose(model.logits(hidden), [decoder])
        if not isinstance(chosen, NextCodes):
            raise chosen
        if chosen.finished:
            return decoder.result()
        cache.reorder(slots, chosen.parents)
        hidden = model.step(cache, slots, chosen.codes, [position(decoder.steps)] * len(slots))


@torch.inference_mode()
def latents_of(model: SpeechGpt, prefix: Tensor, codes: Sequence[int]) -> Tensor:
    """Prefix (P,D) as in generation, codes (M) without the stop code -> latents (M,D) for the mel stage: a second pass,
    at positions without a gap (indextts2-front.md 8)."""
    if not codes:
        return prefix.new_zeros(0, prefix.shape[1])
    cache = model.new_cache(1, len(prefix) + len(codes))
    inputs = torch.cat([prefix, model.latent_inputs(codes, 0)])
    return model.extend(cache, [(0, inputs)])[0][len(prefix) :]
