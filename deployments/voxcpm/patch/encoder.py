"""The local encoder: a patch of latent frames becomes one vector (voxcpm.md 6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deployments.voxcpm.dims import VoxCPMDims
from deployments.voxcpm.lm.attention import attend_all
from deployments.voxcpm.lm.rope import Rotation
from deployments.voxcpm.lm.tower import Tower


class LocalEncoder(nn.Module):
    """Attribute names are the checkpoint's keys."""

    def __init__(self, dims: VoxCPMDims) -> None:
        super().__init__()
        hidden = dims.encoder.hidden
        self.special_token = nn.Parameter(torch.empty(1, 1, 1, hidden))
        self.in_proj = nn.Linear(dims.latent_dim, hidden)
        self.encoder = Tower(dims.encoder)

    def forward(self, patches: Tensor, rotation: Rotation | None) -> Tensor:
        """(N, P, D) -> (N, hidden): the tower's output at the special token; `rotation` of P + 1 positions."""
        frames = self.in_proj(patches)
        token = self.special_token[0].expand(len(patches), 1, -1)
        encoded = self.encoder(torch.cat((token, frames), dim=1), attend_all, rotation)
        return encoded[:, 0]
