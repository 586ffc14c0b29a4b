"""Latents for the mel stage: a second pass over the codes, positions without a gap (indextts2-front.md 8)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deployments.indextts2.gpt.cache import SlotCache
from deployments.indextts2.gpt.model import SpeechGpt


@torch.inference_mode()
def latents_of(model: SpeechGpt, prefix: Tensor, codes: Sequence[int]) -> Tensor:
    """Prefix (P,D) as in generation, codes (M) without the stop code -> latents (M,D), in one pass."""
    if not codes:
        return prefix.new_zeros(0, prefix.shape[1])
    cache = model.new_cache(1, len(prefix) + len(codes))
    inputs = torch.cat([prefix, _inputs(model, codes, 0)])
    return model.extend(cache, [(0, inputs)])[0][len(prefix) :]


class LatentRow:
    """Latents as codes arrive, in a slot that holds the prefix without the start code.

    Latent j is the state at the input before code j, so it can be had as soon as code j−1 is certain. Either
    `inputs` of many rows go through one `SpeechGpt.extend`, or the row joins a `SpeechGpt.step` with
    `next_input`; the states that come back are the next latents.
    """

    def __init__(self, model: SpeechGpt, slot: int) -> None:
        self.model = model
        self.slot = slot
        self.count = 0  # inputs taken = latents made

    def next_input(self, codes: Sequence[int]) -> tuple[int, int]:
        """Code and mel position index of the input for latent number `count`; `codes` from the beginning."""
        code = codes[self.count - 1] if self.count else self.model.dims.start_mel_token
        self.count += 1
        return code, self.count - 1

    def inputs(self, codes: Sequence[int]) -> Tensor:
        """All inputs not taken yet, for latents of `codes` (from the beginning): (K,D), K may be 0."""
        rows = _inputs(self.model, codes, self.count)
        self.count = max(self.count, len(codes))
        return rows

    def extend(self, cache: SlotCache, codes: Sequence[int]) -> Tensor:
        """The latents (K,D) that `codes` have and this row has not made yet."""
        rows = self.inputs(codes)
        return self.model.extend(cache, [(self.slot, rows)])[0] if len(rows) else rows


def _inputs(model: SpeechGpt, codes: Sequence[int], first: int) -> Tensor:
    """Inputs of latents first … M−1: start code at position 0, code j−1 at position j."""
    fed = [model.dims.start_mel_token, *codes[:-1]][first : len(codes)]
    return model.embed(torch.tensor(fed, dtype=torch.int64), torch.arange(first, first + len(fed)))
