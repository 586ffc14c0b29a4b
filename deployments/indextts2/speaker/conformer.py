"""Conformer over semantic features.

The first half of both conditioning encoders (indextts2-front.md 5.1-5.3).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.indextts2.dims import ConditionDims

KERNEL = 15
MIN_FRAMES = 3  # the sub-sampling convolution needs a full window
MAX_SUBFRAMES = 5000  # length of the position table the model was made with


def sub_lengths(lengths: Tensor) -> Tensor:
    """Valid frames after sub-sampling: sub-frame j needs the input frames 2j, 2j+1 and 2j+2."""
    return (lengths - 1) // 2


def valid_mask(lengths: Tensor, size: int) -> Tensor:
    """(B,) lengths to (B,size) bool, true where the position is below the length."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def sinusoid(length: int, dim: int, device: torch.device) -> Tensor:
    """(length,dim): sine at even, cosine at odd channels, positions from 0."""
    if length >= MAX_SUBFRAMES:
        raise ValueError(f"{length} sub-sampled frames; the position table ends at {MAX_SUBFRAMES}")
    rate = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10000.0) / dim))
    angle = torch.arange(length, device=device)[:, None] * rate
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)


class Subsampling(nn.Module):
    """(B,T,W) to (B,T2,d): one 3×3 convolution of stride 2 over time and width, then a linear layer."""

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, dim, kernel_size=3, stride=2), nn.ReLU())
        self.out = nn.Sequential(nn.Linear(dim * ((inputs - 1) // 2), dim))

    def forward(self, x: Tensor) -> Tensor:
        image = self.conv(x[:, None])  # (B,d,T2,W2)
        return self.out(image.transpose(1, 2).flatten(2))


class RelativeAttention(nn.Module):
    """Attention with a position term of the key alone: there is no relative shift in this model."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q = nn.Linear(dim, dim)
        self.linear_k = nn.Linear(dim, dim)
        self.linear_v = nn.Linear(dim, dim)
        self.linear_out = nn.Linear(dim, dim)
        self.linear_pos = nn.Linear(dim, dim, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(heads, dim // heads))
        self.pos_bias_v = nn.Parameter(torch.empty(heads, dim // heads))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """x (B,T,d), positions (T,d), mask (B,T) of valid keys."""
        batch, length, dim = x.shape
        split = (batch, length, self.heads, dim // self.heads)
        q = self.linear_q(x).view(split)
        p = self.linear_pos(positions).view(1, *split[1:]).expand(split)
        # (q+u)·k + (q+w)·p is one dot product of vectors laid end to end.
        query = torch.cat((q + self.pos_bias_u, q + self.pos_bias_v), dim=-1).transpose(1, 2)
        key = torch.cat((self.linear_k(x).view(split), p), dim=-1).transpose(1, 2)
        value = self.linear_v(x).view(split).transpose(1, 2)
        scores = query @ key.transpose(2, 3) / math.sqrt(split[-1])
        weights = scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)
        return self.linear_out((weights @ value).transpose(1, 2).reshape(x.shape))


class ConvolutionModule(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pointwise_conv1 = nn.Conv1d(dim, 2 * dim, kernel_size=1)
        self.depthwise_conv = nn.Conv1d(dim, dim, KERNEL, padding=KERNEL // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.pointwise_conv2 = nn.Conv1d(dim, dim, kernel_size=1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B,T,d), mask (B,T)."""
        hidden = x.masked_fill(~mask[..., None], 0.0).transpose(1, 2)
        hidden = self.depthwise_conv(F.glu(self.pointwise_conv1(hidden), dim=1))
        hidden = F.silu(self.norm(hidden.transpose(1, 2))).transpose(1, 2)
        return self.pointwise_conv2(hidden).transpose(1, 2).masked_fill(~mask[..., None], 0.0)


class ConformerFeedForward(nn.Module):
    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(dim, inner)
        self.w_2 = nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_2(F.silu(self.w_1(x)))


class ConformerBlock(nn.Module):
    def __init__(self, dim: int, inner: int, heads: int) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(dim, heads)
        self.conv_module = ConvolutionModule(dim)
        self.feed_forward = ConformerFeedForward(dim, inner)
        self.norm_mha = nn.LayerNorm(dim)
        self.norm_conv = nn.LayerNorm(dim)
        self.norm_ff = nn.LayerNorm(dim)
        self.norm_final = nn.LayerNorm(dim)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm_mha(x), positions, mask)
        x = x + self.conv_module(self.norm_conv(x), mask)
        x = x + self.feed_forward(self.norm_ff(x))
        return self.norm_final(x)


class Conformer(nn.Module):
    def __init__(self, feature_width: int, dims: ConditionDims) -> None:
        super().__init__()
        dim = dims.output_size
        self.embed = Subsampling(feature_width, dim)
        self.encoders = nn.ModuleList(
            ConformerBlock(dim, dims.linear_units, dims.attention_heads) for _ in range(dims.num_blocks)
        )
        self.after_norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """features (B,T,W), lengths (B,), T >= 3 -> hidden (B,T2,d), mask of valid sub-frames (B,T2)."""
        hidden = self.embed(features)
        hidden = hidden * math.sqrt(hidden.shape[-1])
        mask = valid_mask(sub_lengths(lengths), hidden.shape[1])
        positions = sinusoid(hidden.shape[1], hidden.shape[-1], hidden.device).to(hidden.dtype)
        for block in self.encoders:
            hidden = block(hidden, positions, mask)
        return self.after_norm(hidden), mask
