"""From semantic features and style to speaker latents and emotion vectors: the part of `gpt.pth` that a voice needs.

Behind each conformer a perceiver makes a fixed number of latents from any number of frames (indextts2-front.md 5.4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.indextts2.dims import ConditionerDims
from deployments.indextts2.speaker.conformer import Conformer
from deployments.weights.tensors import load_strict, without_values

# Its keys in gpt.pth.
PARTS = ("conditioning_encoder.", "perceiver_encoder.", "spk_emb_proj.", "emo_", "emovec_layer.")
PERCEIVER_HEAD_DIM = 64
PERCEIVER_DEPTH = 2


class LatentAttention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * PERCEIVER_HEAD_DIM
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, latents: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """latents (B,n,P), context (B,n+T,P) with the latents first, mask (B,n+T) of valid keys."""
        query, key, value = (
            part.unflatten(-1, (self.heads, PERCEIVER_HEAD_DIM)).transpose(1, 2)
            for part in (self.to_q(latents), *self.to_kv(context).chunk(2, dim=-1))
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(PERCEIVER_HEAD_DIM)
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
        self.layers = nn.ModuleList(PerceiverLayer(dim, heads, mult) for _ in range(PERCEIVER_DEPTH))
        self.norm = RmsNorm(dim)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Frames (B,T,inputs) with mask (B,T) to latents (B,n,P)."""
        frames = self.proj_context(hidden)
        latents = self.latents.expand(frames.shape[0], -1, -1)
        mask = F.pad(mask, (latents.shape[1], 0), value=True)
        for layer in self.layers:
            latents = layer(latents, frames, mask)
        return self.norm(latents)


class Conditioner(nn.Module):
    """Emotion encoder; attribute names are the checkpoint's keys (indextts2-front.md 5). How the speaker gets into the
    GPT differs: see below."""

    def __init__(self, dims: ConditionerDims) -> None:
        super().__init__()
        width, emotion = dims.width, dims.emotion
        self.emo_conditioning_encoder = Conformer(width, emotion)
        self.emo_perceiver_encoder = Perceiver(
            emotion.output_size, width, 1, emotion.attention_heads, emotion.perceiver_mult
        )
        self.emovec_layer = nn.Linear(width, dims.model_dim)
        self.emo_layer = nn.Linear(dims.model_dim, dims.model_dim)

    def speaker_latents(self, features: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        """Features (B,T,W) of the speaker route, true lengths (B,), styles (B,S) -> (B,n,D)."""
        raise NotImplementedError

    @torch.inference_mode()
    def emotion(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (B,T,W) of either route, true lengths (B,) -> emotion vectors e(F) (B,D)."""
        pooled = self.emo_perceiver_encoder(*self.emo_conditioning_encoder(features, lengths)).squeeze(1)
        return self.emo_layer(self.emovec_layer(pooled))


class FeatureConditioner(Conditioner):
    """Conformer and perceiver make 32 speaker latents of the features (indextts2-front.md 5)."""

    def __init__(self, dims: ConditionerDims) -> None:
        super().__init__(dims)
        speaker = dims.speaker
        assert speaker is not None
        self.conditioning_encoder = Conformer(dims.width, speaker)
        self.perceiver_encoder = Perceiver(
            speaker.output_size, dims.model_dim, dims.rows, speaker.attention_heads, speaker.perceiver_mult
        )

    @torch.inference_mode()
    def speaker_latents(self, features: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        return self.perceiver_encoder(*self.conditioning_encoder(features, lengths))


class StyleConditioner(Conditioner):
    """The one speaker latent is a projection of the style (indextts2.5-delta.md 3)."""

    def __init__(self, dims: ConditionerDims) -> None:
        super().__init__(dims)
        self.spk_emb_proj = nn.Linear(dims.style, dims.model_dim)

    @torch.inference_mode()
    def speaker_latents(self, features: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        return self.spk_emb_proj(style.to(self.spk_emb_proj.weight.dtype))[:, None]


def new_conditioner(dims: ConditionerDims) -> Conditioner:
    return StyleConditioner(dims) if dims.speaker is None else FeatureConditioner(dims)


def load_conditioner(
    tensors: Mapping[str, Tensor],
    dims: ConditionerDims,
    *,
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Conditioner:
    """The conditioner from the tensors of gpt.pth, or of its part under PARTS."""
    with without_values():
        conditioner = new_conditioner(dims)
    own = {name: value for name, value in tensors.items() if name.startswith(PARTS)}
    # Position tables are stored but made anew.
    load_strict(
        conditioner, own, source=source, unused=lambda name: name.endswith("embed.pos_enc.pe"), dtype=dtype
    )
    return conditioner.to(device)
