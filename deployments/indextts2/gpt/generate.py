"""One request from prefix to codes in a plain loop: the reference's behaviour, the path without streaming."""

from __future__ import annotations

import torch
from torch import Tensor

from deployments.core.errors import InvalidRequest
from deployments.indextts2.gpt.decoders import Choice, Outcome, new_decoder
from deployments.indextts2.gpt.draws import Draws
from deployments.indextts2.gpt.model import PIECE, SpeechGpt, generation_position
from deployments.indextts2.gpt.selection import Selection
from deployments.indextts2.gpt.settings import DecodingSettings


@torch.inference_mode()
def generate(model: SpeechGpt, prefix: Tensor, settings: DecodingSettings, draws: Draws) -> Outcome:
    """Prefix (P,D) without the start code -> codes. Raises FloatingPointError if scores are not finite."""
    if settings.max_codes > model.max_codes:
        raise InvalidRequest(f"max_codes may be {model.max_codes} with this model", param="max_codes")
    slots = tuple(range(settings.num_beams))
    cache = model.new_cache(len(slots), len(prefix) + settings.max_codes)
    selection = Selection(model.dims, len(slots), model.device)
    selection.open(slots)
    decoder = new_decoder(settings, slots, model.dims.stop_mel_token, model.dims.number_mel_codes, draws)

    pieces = torch.cat([prefix, model.start()]).split(PIECE)
    hidden = model.extend(cache, [(0, piece) for piece in pieces])[-1][-1:]
    cache.copy(0, slots[1:], cache.lengths[0])
    hidden = hidden.expand(len(slots), -1)
    while True:
        choice = selection.choose(model.logits(hidden), [decoder])[0]
        if not isinstance(choice, Choice):
            raise choice
        if choice.finished:
            return decoder.outcome()
        cache.reorder(slots, choice.parents)
        position = generation_position(decoder.steps)
        hidden = model.step(cache, slots, choice.codes, [position] * len(slots))
