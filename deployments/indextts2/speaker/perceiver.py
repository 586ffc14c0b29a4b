"""Perceiver resampler: a fixed number of latents from any number of frames (indextts2-front.md 5.4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD_DIM = 64
DEPTH = 2


class LatentAttention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * HEAD_DIM
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, latents: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """latents (B,n,P), context (B,n+T,P) with the latents first, mask (B,n+T) of valid keys."""
        query, key, value = (
            part.unflatten(-1, (self.heads, HEAD_DIM)).transpose(1, 2)
            for part in (self.to_q(latents), *self.to_kv(context).chunk(2, dim=-1))
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(HEAD_DIM)
        weights = scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)
        return self.to_out((weights @ value).transpose(1, 2).flatten(2))


class GatedGelu(nn.Module):
    """The gate is the second half."""

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)


class RmsNorm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1, eps=1e-12) * math.sqrt(x.shape[-1]) * self.gamma


def _feed_forward(dim: int, mult: int) -> nn.Sequential:
    inner = int(dim * mult * 2 / 3)
    return nn.Sequential(nn.Linear(dim, 2 * inner), GatedGelu(), nn.Linear(inner, dim))


class PerceiverLayer(nn.ModuleList):
    """Attention and feed-forward, numbered as in the checkpoint's keys."""

    def __init__(self, dim: int, heads: int, mult: int) -> None:
        super().__init__([LatentAttention(dim, heads), _feed_forward(dim, mult)])

    def forward(self, latents: Tensor, frames: Tensor, mask: Tensor) -> Tensor:
        attention, feed_forward = self
        latents = latents + attention(latents, torch.cat((latents, frames), dim=1), mask)
        return latents + feed_forward(latents)


class Perceiver(nn.Module):
    def __init__(self, inputs: int, dim: int, latents: int, heads: int, mult: int) -> None:
        super().__init__()
        self.proj_context = nn.Linear(inputs, dim) if inputs != dim else nn.Identity()
        self.latents = nn.Parameter(torch.empty(latents, dim))
        self.layers = nn.ModuleList(PerceiverLayer(dim, heads, mult) for _ in range(DEPTH))
        self.norm = RmsNorm(dim)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Frames (B,T,inputs) with mask (B,T) to latents (B,n,P)."""
        frames = self.proj_context(hidden)
        latents = self.latents.expand(frames.shape[0], -1, -1)
        mask = F.pad(mask, (latents.shape[1], 0), value=True)
        for layer in self.layers:
            latents = layer(latents, frames, mask)
        return self.norm(latents)
