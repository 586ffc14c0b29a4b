"""The ConvNeXt stack of the semantic codec, the same in its encoder and its decoder (indextts2-front.md 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.indextts2.dims import CodecDims

NORM_EPS = 1e-6
HALF_WIDTH = 3  # of every convolution


class ConvNextBlock(nn.Module):
    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, 2 * HALF_WIDTH + 1, padding=HALF_WIDTH, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.pwconv1 = nn.Linear(dim, inner)
        self.pwconv2 = nn.Linear(inner, dim)
        self.gamma = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        residual = self.norm(self.dwconv(masked(x, mask)).transpose(1, 2))
        residual = self.gamma * self.pwconv2(F.gelu(self.pwconv1(residual)))
        return x + residual.transpose(1, 2)


class Backbone(nn.Module):
    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.embed = nn.Conv1d(dims.hidden_size, dims.vocos_dim, 2 * HALF_WIDTH + 1, padding=HALF_WIDTH)
        self.norm = nn.LayerNorm(dims.vocos_dim, eps=NORM_EPS)
        self.convnext = nn.ModuleList(
            ConvNextBlock(dims.vocos_dim, dims.vocos_intermediate_dim) for _ in range(dims.vocos_num_layers)
        )
        self.final_layer_norm = nn.LayerNorm(dims.vocos_dim, eps=NORM_EPS)

    @property
    def reach(self) -> int:
        """Steps on each side that a step depends on."""
        return HALF_WIDTH * (1 + len(self.convnext))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B,W,T) to (B,T,vocos_dim). mask (B,1,T) holds 1 where a row has a step and 0 elsewhere, None: 1 everywhere;
        a row is then as if it were alone and its ends were where its mask begins and ends."""
        x = self.norm(self.embed(masked(x, mask)).transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x, mask)
        return self.final_layer_norm(x.transpose(1, 2))


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """What a convolution may see of x (B,C,T): zeros beyond the ends of a row, as its own padding has."""
    return x if mask is None else x * mask
