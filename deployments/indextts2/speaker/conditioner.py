"""From semantic features to speaker latents and emotion vectors: the part of `gpt.pth` that a voice needs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from deployments.indextts2.dims import ConditionDims, GptDims
from deployments.indextts2.speaker.conformer import Conformer
from deployments.indextts2.speaker.perceiver import Perceiver
from deployments.weights.tensors import load_strict

PARTS = ("conditioning_encoder.", "perceiver_encoder.", "emo_", "emovec_layer.")  # its keys in gpt.pth


class Conditioner(nn.Module):
    """Speaker and emotion encoders; attribute names are the checkpoint's keys (indextts2-front.md 5)."""

    def __init__(self, gpt: GptDims, speaker: ConditionDims, emotion: ConditionDims, width: int) -> None:
        """`width` is that of the semantic features, and of the emotion perceiver (13)."""
        super().__init__()
        dim = gpt.model_dim
        self.conditioning_encoder = Conformer(width, speaker)
        self.perceiver_encoder = Perceiver(
            speaker.output_size,
            dim,
            gpt.condition_num_latent,
            speaker.attention_heads,
            speaker.perceiver_mult,
        )
        self.emo_conditioning_encoder = Conformer(width, emotion)
        self.emo_perceiver_encoder = Perceiver(
            emotion.output_size, width, 1, emotion.attention_heads, emotion.perceiver_mult
        )
        self.emovec_layer = nn.Linear(width, dim)
        self.emo_layer = nn.Linear(dim, dim)

    @torch.inference_mode()
    def speaker_latents(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (B,T,W) of the speaker route, true lengths (B,) -> (B,32,D)."""
        return self.perceiver_encoder(*self.conditioning_encoder(features, lengths))

    @torch.inference_mode()
    def emotion(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Features (B,T,W) of either route, true lengths (B,) -> emotion vectors e(F) (B,D)."""
        pooled = self.emo_perceiver_encoder(*self.emo_conditioning_encoder(features, lengths)).squeeze(1)
        return self.emo_layer(self.emovec_layer(pooled))


def load_conditioner(
    tensors: Mapping[str, Tensor],
    gpt: GptDims,
    speaker: ConditionDims,
    emotion: ConditionDims,
    width: int,
    *,
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Conditioner:
    """The conditioner from the tensors of gpt.pth, or of its part under PARTS."""
    with torch.device("meta"):
        conditioner = Conditioner(gpt, speaker, emotion, width)
    own = {name: value for name, value in tensors.items() if name.startswith(PARTS)}
    # Position tables are stored but made anew.
    load_strict(
        conditioner, own, source=source, unused=lambda name: name.endswith("embed.pos_enc.pe"), dtype=dtype
    )
    return conditioner.to(device)
