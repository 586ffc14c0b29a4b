"""Causal attention of new positions over the slots of a cache; one object per pass, for all layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from deployments.indextts2.gpt.cache import SlotCache


class Attention(Protocol):
    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """(N, 3·D) -> (N, D): writes the new positions' keys and values, then attends to all up to each."""
        ...


@dataclass(frozen=True)
class Span:
    """`count` new positions of one slot, the first of them at `start`."""

    slot: int
    start: int
    count: int

    @property
    def stop(self) -> int:
        return self.start + self.count


class SpanAttention:
    """Spans of any length behind one another in the rows; further rows are padding and come back as zeros.

    Every span is computed by itself on exactly its own history: no bit depends on the other spans.
    """

    def __init__(self, cache: SlotCache, spans: Sequence[Span]) -> None:
        self.cache = cache
        self.spans = spans
        device = cache.device
        self.slots = torch.tensor([s.slot for s in spans for _ in range(s.count)], device=device)
        self.positions = torch.tensor([p for s in spans for p in range(s.start, s.stop)], device=device)
        self.entries = [None if cache.straight[s.slot] else cache.entries(s.slot, s.stop) for s in spans]
        self.masks = [_span_mask(s, cache.keys.dtype, device) for s in spans]

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        cache = self.cache
        keys, values = cache.keys[layer], cache.values[layer]
        used = len(self.positions)
        q, k, v = qkv.view(len(qkv), 3, *keys.shape[2:]).unbind(1)
        keys[self.slots, self.positions] = k[:used]
        values[self.slots, self.positions] = v[:used]
        result = torch.zeros_like(q)
        first = 0
        for span, entries, mask in zip(self.spans, self.entries, self.masks, strict=True):
            if entries is None:
                own_keys, own_values = keys[span.slot, : span.stop], values[span.slot, : span.stop]
            else:
                own_keys = keys.flatten(0, 1).index_select(0, entries)
                own_values = values.flatten(0, 1).index_select(0, entries)
            rows = slice(first, first + span.count)
            result[rows] = F.scaled_dot_product_attention(
                q[rows].transpose(0, 1).unsqueeze(0),
                own_keys.transpose(0, 1).unsqueeze(0),
                own_values.transpose(0, 1).unsqueeze(0),
                attn_mask=mask,
                is_causal=mask is None and span.count > 1,
            )[0].transpose(0, 1)
            first += span.count
        return result.flatten(1)


def _span_mask(span: Span, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    # A span at the start is plainly causal and a single position sees everything: no mask to be read.
    if span.count == 1 or span.start == 0:
        return None
    # To be added: of booleans every layer would make such a mask again.
    return torch.full((span.count, span.stop), -torch.inf, dtype=dtype, device=device).triu(span.start + 1)


class StepAttention:
    """One new position for each of R slots, all at once over `key_length` positions with exact masks.

    slots, lengths (R,) int64 on the cache's device; lengths count the positions before the new one. Reads no
    value on the host, so a step with it can be captured as a CUDA graph per (R, key_length).
    """

    def __init__(self, cache: SlotCache, slots: Tensor, lengths: Tensor, key_length: int) -> None:
        self.cache = cache
        self.slots = slots
        self.lengths = lengths
        visible = torch.arange(key_length, device=cache.device) <= lengths.unsqueeze(1)
        entries = cache.entries(slots, key_length)
        # Masked positions read the row's own first entry: an earlier tenant's may be NaN, and 0 · NaN is NaN.
        self.entries = torch.where(visible, entries, entries[:, :1]).flatten()
        # To be added, like that of a span.
        hidden = torch.full(visible.shape, -torch.inf, dtype=cache.keys.dtype, device=cache.device)
        self.mask = hidden.masked_fill(visible, 0.0)[:, None, None, :]

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        rows = len(qkv)
        q, k, v = qkv.view(rows, 3, *keys.shape[2:]).unbind(1)
        keys[self.slots, self.lengths] = k
        values[self.slots, self.lengths] = v
        own_keys, own_values = (
            t.flatten(0, 1).index_select(0, self.entries).view(rows, -1, *t.shape[2:]).transpose(1, 2)
            for t in (keys, values)
        )
        return F.scaled_dot_product_attention(q.unsqueeze(2), own_keys, own_values, self.mask).flatten(1)
