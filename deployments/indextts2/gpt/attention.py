"""Keys and values of all sequences in slots of fixed size, and causal attention of new positions over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from deployments.indextts2.dims import GptDims


class SlotCache:
    """keys, values: (layers, slots, max_length, heads, head_dim); position-major: a row is read in one run. `both` is
    one tensor with the keys and behind them the values.

    A slot's history normally lies in the slot itself. After a beam reorder it lies scattered over the slots
    of its group: `origin` (slots, max_length) names the slot that holds each position. Nothing is moved, but
    the slots of a group must be given up together.
    """

    def __init__(
        self,
        dims: GptDims,
        slots: int,
        max_length: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (dims.layers, slots, max_length, dims.heads, dims.model_dim // dims.heads)
        self.both = torch.empty(2, *shape, dtype=dtype, device=device)
        self.keys, self.values = self.both
        self.origin = torch.arange(slots, device=device).unsqueeze(1).repeat(1, max_length)
        self.max_length = max_length
        self.lengths = [0] * slots
        self.straight = [True] * slots  # the whole history lies in the slot itself

    @property
    def slots(self) -> int:
        return len(self.lengths)

    @property
    def device(self) -> torch.device:
        return self.keys.device

    def clear(self, slots: Sequence[int]) -> None:
        """Empty these slots for new rows."""
        for slot in slots:
            self.lengths[slot] = 0
            if not self.straight[slot]:
                self.origin[slot] = slot
                self.straight[slot] = True

    def rewind(self, slot: int, length: int) -> None:
        """Go back to the first `length` positions, which the slot got before any reorder of its group.

        A reorder moves nothing, so they still lie in the slot itself.
        """
        self.clear([slot])
        self.lengths[slot] = length

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        """Let the targets begin with the first `length` positions of `source`, then go their own way."""
        if not 0 <= length <= self.lengths[source]:
            raise ValueError(f"slot {source} holds {self.lengths[source]} positions, {length} were asked for")
        self.clear(targets)
        keys, values = (self.history(t, source, length) for t in (self.keys, self.values))
        for target in targets:
            self.keys[:, target, :length] = keys
            self.values[:, target, :length] = values
            self.lengths[target] = length

    def reorder(self, slots: Sequence[int], parents: Sequence[int]) -> None:
        """Slot slots[i] goes on with the history of slots[parents[i]]; the slots have one common length."""
        if list(parents) == list(range(len(slots))):
            return
        length = self.lengths[slots[0]]
        target = torch.tensor(slots, device=self.device)
        source = torch.tensor([slots[parent] for parent in parents], device=self.device)
        self.origin[target, :length] = self.origin[source, :length]
        for slot, parent in zip(slots, parents, strict=True):
            self.straight[slot] = self.straight[slot] and slots[parent] == slot

    def history(self, tensor: Tensor, slot: int, length: int) -> Tensor:
        """keys or values, whole (layers first) -> (layers, length, heads, head_dim) of one slot."""
        if self.straight[slot]:
            return tensor[:, slot, :length]
        return tensor.flatten(1, 2)[:, self.entries(slot, length)]

    def entries(self, slots: int | Tensor, length: int) -> Tensor:
        """Where the first `length` positions of slots lie: slot·max_length + position, (…, length) int64."""
        return self.origin[slots, :length] * self.max_length + torch.arange(length, device=self.device)


class CompactSlotCache(SlotCache):
    """A reorder moves what differs between the slots, so every history lies in its own slot and is read as it is.

    For a CPU: beams have most of their history in common, and gathering all of it in every layer of every step costs
    more than moving the rest.
    """

    def __init__(
        self,
        dims: GptDims,
        slots: int,
        max_length: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dims, slots, max_length, dtype=dtype, device=device)
        # The first so many positions of two slots are known to be equal.
        self._common = [[0] * slots for _ in range(slots)]

    def clear(self, slots: Sequence[int]) -> None:
        super().clear(slots)
        for slot in slots:
            for other in range(self.slots):
                self._common[slot][other] = self._common[other][slot] = 0

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        super().copy(source, targets, length)
        group = [source, *targets]
        for slot in group:
            for other in group:
                self._common[slot][other] = length

    def reorder(self, slots: Sequence[int], parents: Sequence[int]) -> None:
        moved = [
            (slot, slots[parent])
            for slot, parent in zip(slots, parents, strict=True)
            if slots[parent] != slot
        ]
        if not moved:
            return
        length = self.lengths[slots[0]]
        first = min(self._common[slot][source] for slot, source in moved)
        targets, sources = torch.tensor(moved, device=self.device).t()
        for tensor in (self.keys, self.values):
            tensor[:, targets, first:length] = tensor[:, sources, first:length]
        origins = [slots[parent] for parent in parents]
        common = [[length if a == b else self._common[a][b] for b in origins] for a in origins]
        for slot, row in zip(slots, common, strict=True):
            for other, equal in zip(slots, row, strict=True):
                self._common[slot][other] = equal


class Attention(Protocol):
    """Of one pass through the network: one object for all layers."""

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
        self.entries = [None if cache.straight[s.slot] else cache.entries(s.slot, s.stop) for s in spans]
        self.masks = [_span_mask(s, cache.keys.dtype, cache.device) for s in spans]

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Slots and positions of all new rows; packed layers do without."""
        slots = [span.slot for span in self.spans for _ in range(span.count)]
        positions = [position for span in self.spans for position in range(span.start, span.stop)]
        return torch.tensor(slots, device=self.cache.device), torch.tensor(
            positions, device=self.cache.device
        )

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        cache = self.cache
        keys, values = cache.keys[layer], cache.values[layer]
        slots, positions = self.places
        used = len(positions)
        q, k, v = qkv.view(len(qkv), 3, *keys.shape[2:]).unbind(1)
        keys[slots, positions] = k[:used]
        values[slots, positions] = v[:used]
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
        # Masked positions read the row's own first entry: what an earlier row left may be NaN, and 0 · NaN is NaN.
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
