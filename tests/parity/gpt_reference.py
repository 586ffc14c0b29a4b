"""Decoding as the reference does it: draws by torch's generator, and the start code is not ruled out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deployments.indextts2.gpt.decoding import DecodedCodes, NextCodes, new_decoder
from deployments.indextts2.gpt.draws import Filters
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.positions import generation_position
from deployments.indextts2.gpt.selection import Selection
from deployments.indextts2.sampling import Params

Draw = Callable[[Tensor, int, int], list[int]]
"""Total scores (n,V), step, count -> the entries drawn, beam·V + code."""


def draw_by_torch(totals: Tensor, step: int, count: int) -> list[int]:
    """By torch's global generator, as after `torch.manual_seed`. Entries of probability 0 are drawn when fewer than
    `count` have any, as the reference does (indextts2-front.md 7.3)."""
    drawn: list[int] = torch.multinomial(totals.view(1, -1).softmax(-1), count)[0].tolist()
    return drawn


def filtered(scores: Tensor, params: Params) -> Tensor:
    """Processed scores (R,V) after top-k and top-p."""
    values, codes = scores.sort(dim=-1, descending=True, stable=True)
    passed = Filters([params] * len(scores), scores.shape[1]).passed(values.numpy())
    values = values.masked_fill(~torch.from_numpy(passed), -torch.inf)
    return torch.full_like(scores, -torch.inf).scatter_(1, codes, values)


@torch.inference_mode()
def decode_as_reference(
    model: SpeechGpt,
    prefix: Tensor,
    params: Params,
    draw: Draw = draw_by_torch,
    *,
    position: Callable[[int], int] = generation_position,
) -> DecodedCodes:
    """position: mel position index of input number n."""
    slots = tuple(range(params.num_beams))
    cache = model.new_cache(len(slots), len(prefix) + params.max_codes)
    selection = Selection(model.dims, len(slots), allow_start_code=True)
    selection.open(slots)
    decoder = new_decoder(params, slots, model.dims, seed=0, stream=0)
    hidden = model.extend(cache, [(0, torch.cat([prefix, model.start()]))])[-1][-1:]
    cache.copy(0, slots[1:], cache.lengths[0])
    hidden = hidden.expand(len(slots), -1)
    while True:
        logits = model.logits(hidden)
        if params.samples:
            scores = filtered(selection.scores(logits, [decoder]), params)
            totals = scores + torch.from_numpy(decoder.running)[:, None]
            drawn = draw(totals, decoder.steps, params.step_candidates)
            candidates = [(float(totals.view(-1)[entry]), entry) for entry in drawn]
            chosen = decoder.advance(sorted(candidates, key=lambda candidate: -candidate[0]))
            selection.append([decoder], [chosen])
        else:
            (chosen,) = selection.choose(logits, [decoder])
            assert isinstance(chosen, NextCodes)
        if chosen.finished:
            return decoder.result()
        cache.reorder(slots, chosen.parents)
        hidden = model.step(cache, slots, chosen.codes, [position(decoder.steps)] * len(slots))
