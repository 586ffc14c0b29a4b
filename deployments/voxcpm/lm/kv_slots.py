"""Keys and values of all sequences, in slots of fixed size (voxcpm.md 12, 13)."""

from __future__ import annotations

import torch

from deployments.voxcpm.dims import TowerDims


class KvSlots:
    """keys, values: (layers, slots, max_length, kv_heads, head_dim); position-major: a row is read in one run.

    A slot is reset by its length alone. What a former row left is never read.
    """

    def __init__(
        self,
        dims: TowerDims,
        *,
        layers: int,
        slots: int,
        max_length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (layers, slots, max_length, dims.kv_heads, dims.head_dim)
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values = torch.empty(shape, dtype=dtype, device=device)
        self.max_length = max_length
        self.lengths = [0] * slots

    @property
    def slots(self) -> int:
        return len(self.lengths)

    @property
    def device(self) -> torch.device:
        return self.keys.device

    def reset(self, slot: int) -> None:
        """A new row begins in the slot."""
        self.lengths[slot] = 0
