"""Transformer of the estimator: adaptive RMS norms, interleaved rotary positions, U-ViT skips."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.indextts2.s2mel.dims import EstimatorDims
from deployments.indextts2.s2mel.layout import Layout, Window

ROPE_BASE = 10000.0


class Rope(NamedTuple):
    """cos, sin (T, 1, head_dim / 2), positions counting from the first prompt frame."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def table(cls, frames: int, head_dim: int, device: torch.device, dtype: torch.dtype) -> Rope:
        rates = 1.0 / ROPE_BASE ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angle = (torch.arange(frames, dtype=torch.float32)[:, None] * rates)[:, None]
        return cls(angle.cos().to(device, dtype), angle.sin().to(device, dtype))

    def rotate(self, x: Tensor) -> Tensor:
        """Turn the pairs (2i, 2i + 1) of x (B, T, heads, head_dim)."""
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((a * self.cos - b * self.sin, b * self.cos + a * self.sin), dim=-1).flatten(-2)


class AdaptiveNorm(nn.Module):
    """RMS norm whose gain and bias come from the time embedding; there is no "1 +" on the gain."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.project_layer = nn.Linear(hidden, 2 * hidden)
        self.norm = nn.RMSNorm(hidden, eps=1e-5)

    def project(self, t1: Tensor) -> Tensor:
        """(N, D) -> (N, 2, D): gain (times the weight of the norm), bias."""
        gain, bias = self.project_layer(t1).chunk(2, dim=-1)
        return torch.stack((gain * self.norm.weight, bias), dim=1)

    def forward(self, h: Tensor, modulation: Tensor) -> Tensor:
        gain, bias = modulation[:, :1], modulation[:, 1:]
        return torch.addcmul(bias, F.rms_norm(h, h.shape[-1:], eps=self.norm.eps), gain)


class DitAttention(nn.Module):
    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.wqkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.wo = nn.Linear(hidden, hidden, bias=False)

    def forward(self, u: Tensor, rope: Rope, key_mask: Tensor | None, window: Window | None) -> Tensor:
        """(B, T, D) -> (B, T, D), or only the frames of `window`."""
        q, k, v = self.wqkv(u).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        q, k = rope.rotate(q), rope.rotate(k)
        if window is not None:
            q = window.take(q)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask)
        return self.wo(mixed.transpose(1, 2).flatten(-2))


class DitFeedForward(nn.Module):
    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(hidden, inner, bias=False)
        self.w3 = nn.Linear(hidden, inner, bias=False)
        self.w2 = nn.Linear(inner, hidden, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(u)) * self.w3(u))


class DitBlock(nn.Module):
    def __init__(self, dims: EstimatorDims, *, takes_skip: bool) -> None:
        super().__init__()
        self.attention = DitAttention(dims.hidden, dims.heads)
        self.feed_forward = DitFeedForward(dims.hidden, dims.feed_forward)
        self.attention_norm = AdaptiveNorm(dims.hidden)
        self.ffn_norm = AdaptiveNorm(dims.hidden)
        if takes_skip:
            self.skip_in_linear = nn.Linear(2 * dims.hidden, dims.hidden)

    def forward(
        self,
        h: Tensor,
        modulations: Tensor,
        rope: Rope,
        key_mask: Tensor | None,
        *,
        skip: Tensor | None,
        window: Window | None,
    ) -> Tensor:
        """(B, T, D) -> (B, T, D), or only the frames of `window`; modulations (2, N, 2, D)."""
        if skip is not None:
            h = self.skip_in_linear(torch.cat([h, skip], dim=-1))
        attended = self.attention(self.attention_norm(h, modulations[0]), rope, key_mask, window)
        h = (h if window is None else window.take(h)) + attended
        return h + self.feed_forward(self.ffn_norm(h, modulations[1]))


class Transformer(nn.Module):
    """indextts2-back.md 4.1. Outputs of the first depth // 2 blocks return as skips, last in first out."""

    def __init__(self, dims: EstimatorDims) -> None:
        super().__init__()
        self.middle = dims.depth // 2
        self.layers = nn.ModuleList(DitBlock(dims, takes_skip=i > self.middle) for i in range(dims.depth))
        self.norm = AdaptiveNorm(dims.hidden)

    def project(self, t1: Tensor) -> Tensor:
        """(N, D) -> (2 * depth + 1, N, 2, D)"""
        # Registered in the order in which `forward` uses them.
        return torch.stack([norm.project(t1) for norm in self.modules() if isinstance(norm, AdaptiveNorm)])

    def forward(self, h: Tensor, modulations: Tensor, rope: Rope, layout: Layout) -> Tensor:
        """(B, T, D) -> (B, T_window, D): the last block computes only what the head reads."""
        skips: list[Tensor] = []
        last = len(self.layers) - 1
        for i, block in enumerate(self.layers):
            skip = skips.pop() if i > self.middle else None
            window = layout.window if i == last else None
            modulation = modulations[2 * i : 2 * i + 2]
            h = block(h, modulation, rope, layout.key_mask, skip=skip, window=window)
            if i < self.middle:
                skips.append(h)
        return self.norm(h, modulations[-1])
