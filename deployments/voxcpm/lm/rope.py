"""Rotary positions with a factor for each frequency (voxcpm.md 5)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deployments.voxcpm.dims import RopeDims


class Rotation(NamedTuple):
    """cos, sin (..., 1, head_dim) float32 of the positions of one pass; the first half of the sines is negative."""

    cos: Tensor
    sin: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Turn the pairs (i, i + head_dim / 2) of x (..., heads, head_dim); in float32, whatever the type of x."""
        other = x.roll(x.shape[-1] // 2, dims=-1)
        return torch.addcmul(x * self.cos, other, self.sin).to(x.dtype)


class RopeTable:
    """Rotations of positions 0 … length−1."""

    def __init__(self, dims: RopeDims, head_dim: int, length: int, device: torch.device | str) -> None:
        rates = 1.0 / dims.theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        positions = torch.arange(length, dtype=torch.float32)
        angles = torch.outer(positions, 1.0 / torch.tensor(dims.factors, dtype=torch.float32)) * rates
        cos, sin = angles.cos() * dims.scale, angles.sin() * dims.scale
        self._cos = torch.cat((cos, cos), dim=-1).unsqueeze(1).to(device)
        self._sin = torch.cat((-sin, sin), dim=-1).unsqueeze(1).to(device)

    def first(self, count: int) -> Rotation:
        return Rotation(self._cos[:count], self._sin[:count])

    def at(self, positions: Tensor) -> Rotation:
        """Of positions (N,) int64."""
        return Rotation(self._cos.index_select(0, positions), self._sin.index_select(0, positions))
