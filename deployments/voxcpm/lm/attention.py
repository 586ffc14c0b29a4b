"""Attention with grouped heads: causal over slots of keys and values, or among all positions of a short sequence.

The query heads that share a key-value head are taken as further queries of that head, so nothing is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deployments.voxcpm.lm.kv_slots import KvSlots


def attend_all(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Bidirectional: q (B, S, heads, head_dim), k and v (B, S, kv_heads, head_dim) -> (B, S, heads · head_dim)."""
    count = q.shape[1]
    k, v = k.transpose(1, 2), v.transpose(1, 2)
    mixed = F.scaled_dot_product_attention(_by_key_head(q, k.shape[1]), k, v)
    return _by_position(mixed, count)


def _by_key_head(q: Tensor, kv_heads: int) -> Tensor:
    """(B, S, heads, head_dim) -> (B, kv_heads, S · group, head_dim)"""
    return q.unflatten(2, (kv_heads, -1)).transpose(1, 2).flatten(2, 3)


def _by_position(mixed: Tensor, count: int) -> Tensor:
    """(B, kv_heads, S · group, head_dim) -> (B, S, heads · head_dim)"""
    return mixed.unflatten(2, (count, -1)).transpose(1, 2).flatten(2)


@dataclass(frozen=True)
class SlotSpan:
    """`count` new positions of one slot, the first of them at `start`."""

    slot: int
    start: int
    count: int

    @property
    def stop(self) -> int:
        return self.start + self.count


class AttendSpans:
    """Spans of any length behind one another in the rows; further rows are padding and come back as zeros.

    Every span is computed by itself on exactly its own history: no bit depends on the other spans.
    """

    def __init__(self, cache: KvSlots, spans: Sequence[SlotSpan], group: int, *, padding: int = 0) -> None:
        """`group`: query heads of a key-value head; `padding`: further rows. Raises ValueError if a slot is full."""
        for span in spans:
            if span.stop > cache.max_length:
                raise ValueError(
                    f"slot {span.slot} has room for {cache.max_length} positions, {span.stop} are needed"
                )
        self._cache = cache
        self._spans = spans
        device = cache.device
        slots = [span.slot for span in spans for _ in range(span.count)]
        positions = [place for span in spans for place in range(span.start, span.stop)]
        self._slots, self.positions = torch.tensor([slots + [0] * padding, positions + [0] * padding]).to(
            device
        )
        self._used = len(slots)
        self._masks = [_span_mask(span, group, cache.keys.dtype, device) for span in spans]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        slots, positions = self._slots[: self._used], self.positions[: self._used]
        keys[slots, positions] = k[: self._used]
        values[slots, positions] = v[: self._used]
        result = q.new_zeros(len(q), q.shape[1] * q.shape[2])
        first = 0
        for span, mask in zip(self._spans, self._masks, strict=True):
            own_keys, own_values = (
                t[span.slot, : span.stop].transpose(0, 1).unsqueeze(0) for t in (keys, values)
            )
            rows = slice(first, first + span.count)
            queries = _by_key_head(q[rows].unsqueeze(0), keys.shape[2])
            mixed = F.scaled_dot_product_attention(queries, own_keys, own_values, mask)
            result[rows] = _by_position(mixed, span.count)[0]
            first += span.count
        return result


def _span_mask(span: SlotSpan, group: int, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    """(count · group, stop), to be added; None: a single position sees everything."""
    if span.count == 1:
        return None
    hidden = torch.full((span.count, span.stop), -torch.inf, dtype=dtype, device=device)
    return hidden.triu(span.start + 1).repeat_interleave(group, dim=0)


class AttendStep:
    """One new position for each of R slots, all at once over `key_length` positions with exact masks.

    slots, lengths (R,) int64 on the cache's device; lengths count the positions before the new one. Reads no value on
    the host, so a step with it can be captured as a CUDA graph per (R, key_length).
    """

    def __init__(self, cache: KvSlots, slots: Tensor, lengths: Tensor, key_length: int) -> None:
        self._cache = cache
        self._slots = slots
        self.positions = lengths
        places = torch.arange(key_length, device=cache.device)
        visible = places <= lengths.unsqueeze(1)
        # Masked positions read the row's own first one: what an earlier row left may be NaN, and 0 · NaN is NaN.
        places = torch.where(visible, places, 0)
        self._entries = (slots.unsqueeze(1) * cache.max_length + places).flatten()
        hidden = torch.full(visible.shape, -torch.inf, dtype=cache.keys.dtype, device=cache.device)
        self._mask = hidden.masked_fill(visible, 0.0)[:, None, None, :]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        rows = len(q)
        keys[self._slots, self.positions] = k
        values[self._slots, self.positions] = v
        own_keys, own_values = (
            t.flatten(0, 1).index_select(0, self._entries).view(rows, -1, *t.shape[2:]).transpose(1, 2)
            for t in (keys, values)
        )
        queries = _by_key_head(q.unsqueeze(1), keys.shape[2])
        mixed = F.scaled_dot_product_attention(queries, own_keys, own_values, self._mask)
        return _by_position(mixed, 1)[:, 0]
