"""Keys and values of all sequences in slots of fixed size, and causal attention of new positions over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
        first = 0
        self.parts: list[SpanPart] = []
        for span in spans:
            self.parts.append(SpanPart(cache, span, first))
            first += span.count
        self.result: Tensor | None = None

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """`qkv` contiguous. The result is valid until that of the next layer."""
        if self.result is None:
            self.result = qkv.new_zeros(len(qkv), qkv.shape[1] // 3)
        for part in self.parts:
            part.attend(layer, qkv, self.result)
        return self.result


class SpanPart:
    """One span: which rows are its own, where they are kept, and what they attend to.

    All views are made before the first layer, and a layer makes as few as it can: at one row of a narrow model a view
    costs as much as an addition.
    """

    def __init__(self, cache: SlotCache, span: Span, first: int) -> None:
        """first: the first of its rows."""
        heads, head_dim = cache.keys.shape[3:]
        width = heads * head_dim
        self._first, self._width = first, width
        self._queries = (1, heads, span.count, head_dim), (0, head_dim, 3 * width, 1)  # sizes, strides in qkv
        self._new = (2, span.count, heads, head_dim), (width, 3 * width, head_dim, 1)
        self._result = (1, heads, span.count, head_dim), (0, head_dim, width, 1)
        # Views: they show what is written to the cache later on.
        self._kept = cache.both[:, :, span.slot, span.start : span.stop].unbind(1)
        self._entries = None if cache.straight[span.slot] else cache.entries(span.slot, span.stop)
        self._flat = cache.both.flatten(2, 3)
        self._keys, self._values = (
            t[:, span.slot : span.slot + 1, : span.stop].transpose(2, 3).unbind()
            for t in (cache.keys, cache.values)
        )
        self._mask = _span_mask(span, cache.keys.dtype, cache.device)
        self._is_causal = self._mask is None and span.count > 1
        self._own: Tensor | None = None

    def attend(self, layer: int, qkv: Tensor, result: Tensor) -> None:
        """Fills the span's rows of `result` (N,D)."""
        origin = qkv.storage_offset() + 3 * self._width * self._first
        self._kept[layer].copy_(qkv.as_strided(*self._new, origin + self._width))
        if self._entries is None:
            keys, values = self._keys[layer], self._values[layer]
        else:
            gathered = self._flat[:, layer].index_select(1, self._entries)
            keys, values = gathered.transpose(1, 2).unsqueeze(1).unbind()
        attended = F.scaled_dot_product_attention(
            qkv.as_strided(*self._queries, origin), keys, values, self._mask, is_causal=self._is_causal
        )
        if self._own is None:
            self._own = result.as_strided(*self._result, self._width * self._first)
        self._own.copy_(attended)


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
