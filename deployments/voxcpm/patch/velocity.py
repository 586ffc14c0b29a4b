"""LocDiT: the velocity with which a noisy patch moves (voxcpm.md 7)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deployments.voxcpm.dims import VoxCPMDims
from deployments.voxcpm.lm.attention import attend_all
from deployments.voxcpm.lm.rope import Rotation
from deployments.voxcpm.lm.tower import Tower


class TimeMlp(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(hidden, hidden)
        self.linear_2 = nn.Linear(hidden, hidden)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(embedding)))


class VelocityNetwork(nn.Module):
    """Attribute names are the checkpoint's keys under `feat_decoder.estimator`."""

    def __init__(self, dims: VoxCPMDims) -> None:
        super().__init__()
        self.hidden = hidden = dims.decoder.hidden
        self.mu_tokens = dims.mu_tokens
        self.patch_size = dims.patch_size
        self.in_proj = nn.Linear(dims.latent_dim, hidden)
        self.cond_proj = nn.Linear(dims.latent_dim, hidden)
        self.out_proj = nn.Linear(hidden, dims.latent_dim)
        self.time_mlp = TimeMlp(hidden)
        self.delta_time_mlp = TimeMlp(hidden)
        self.decoder = Tower(dims.decoder)

    @property
    def positions(self) -> int:
        """Of the sequence that the tower sees: conditioning, time, previous patch, noisy patch."""
        time_tokens = 0 if self.mu_tokens == 1 else 1
        return self.mu_tokens + time_tokens + 2 * self.patch_size

    def tau(self, embedding: Tensor, embedding_of_zero: Tensor) -> Tensor:
        """Time vectors (N, hidden) from embeddings (N, hidden) of times, and (1, hidden) of time 0."""
        return self.time_mlp(embedding) + self.delta_time_mlp(embedding_of_zero)

    def forward(self, x: Tensor, mu: Tensor, tau: Tensor, cond: Tensor, rotation: Rotation | None) -> Tensor:
        """x (B, P, D), mu (B, mu_tokens, hidden), tau (B, hidden), cond (B, P, hidden) after `cond_proj` -> (B, P, D).

        In 1.x the time is added to the one token of mu, in 2 it is a token behind the two.
        """
        time = tau.unsqueeze(1)
        head = mu + time if self.mu_tokens == 1 else torch.cat((mu, time), dim=1)
        sequence = torch.cat((head, cond, self.in_proj(x)), dim=1)
        return self.out_proj(self.decoder(sequence, attend_all, rotation)[:, -self.patch_size :])
