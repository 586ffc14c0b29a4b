"""Keys and values of all rows, in slots of fixed size that rows take and leave."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deployments.indextts2.dims import GptDims


class SlotCache:
    """keys, values: (layers, slots, max_length, heads, head_dim); position-major: a row is read in one run.

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
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)
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
