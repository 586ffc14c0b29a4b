"""Finite scalar quantisation of the text model's states (voxcpm.md 6)."""

from __future__ import annotations

from torch import Tensor, nn

from deployments.voxcpm.dims import VoxCPMDims


class ScalarQuantizer(nn.Module):
    def __init__(self, dims: VoxCPMDims) -> None:
        super().__init__()
        self.scale = dims.fsq_scale
        self.in_proj = nn.Linear(dims.base.hidden, dims.fsq_dim)
        self.out_proj = nn.Linear(dims.fsq_dim, dims.base.hidden)

    def forward(self, states: Tensor) -> Tensor:
        """(N, H) -> (N, H)"""
        return self.out_proj((self.in_proj(states).tanh() * self.scale).round() / self.scale)
