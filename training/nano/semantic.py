"""The semantic encoder and codec with their training-only heads.

The networks themselves are the served ones: transformers' Wav2Vec2Bert and `SemanticCodec`. The heads say
what a code must carry: its phone, its pitch and loudness relative to the speaker, the shape of its spectrum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

from deployments.indextts2.codec.backbone import Backbone
from deployments.indextts2.codec.codebook import Codebook
from deployments.indextts2.codec.encoder import SemanticCodec
from deployments.indextts2.dims import CodecDims
from training.nano.config import CONFIG, PHONE_CLASSES, SEMANTIC_ENCODER, SEMANTIC_WIDTH

STATISTICS_MOMENTUM = 0.01


@dataclass(frozen=True)
class Labels:
    """Targets of a batch (B, T, ...). `mask` is false where there is no frame."""

    phone: Tensor
    prosody: Tensor
    spectrum: Tensor
    mask: Tensor


class Heads(nn.Module):
    """Linear read-outs of (B, T, W): phone, (pitch, loudness, voiced), normalised stacked mel."""

    def __init__(self, spectrum: bool) -> None:
        super().__init__()
        self.phone = nn.Linear(SEMANTIC_WIDTH, PHONE_CLASSES)
        self.prosody = nn.Linear(SEMANTIC_WIDTH, 3)
        self.spectrum = nn.Linear(SEMANTIC_WIDTH, 160) if spectrum else None

    def losses(self, x: Tensor, labels: Labels, smoothing: float = 0.05) -> dict[str, Tensor]:
        x = x[labels.mask].float()
        pitch, loudness, voiced = labels.prosody[labels.mask].unbind(-1)
        said = self.prosody(x)
        pitch_error = (
            F.smooth_l1_loss(said[:, 0], pitch, reduction="none") * voiced
        ).sum() / voiced.sum().clamp(min=1)
        found = {
            "phone": F.cross_entropy(self.phone(x), labels.phone[labels.mask], label_smoothing=smoothing),
            "prosody": pitch_error
            + F.smooth_l1_loss(said[:, 1], loudness)
            + 0.3 * F.binary_cross_entropy_with_logits(said[:, 2], voiced),
        }
        if self.spectrum is not None:
            found["spectrum"] = F.l1_loss(self.spectrum(x), labels.spectrum[labels.mask])
        return found

    def accuracy(self, x: Tensor, labels: Labels) -> float:
        """Share of frames whose phone is named right."""
        right = self.phone(x[labels.mask].float()).argmax(-1) == labels.phone[labels.mask]
        return float(right.float().mean())


def new_encoder() -> Wav2Vec2BertModel:
    """Random weights. Layer drop and masking of transformers are off; the trainer masks by itself."""
    settings = Wav2Vec2BertConfig(
        **SEMANTIC_ENCODER, layerdrop=0.0, apply_spec_augment=False, hidden_dropout=0.1
    )
    return Wav2Vec2BertModel(settings)


def new_codec() -> SemanticCodec:
    """Random weights with codebook rows on the unit sphere."""
    section = CONFIG["semantic_codec"]
    codec = SemanticCodec(CodecDims(**section))
    for module in codec.modules():
        if isinstance(module, Codebook):
            nn.init.normal_(module.codebook.weight)
    start_backbone(codec)
    return codec


def start_backbone(network: nn.Module) -> None:
    """Fill the tensors that the served modules leave empty."""
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(parameter, 0.25)
        elif name.endswith("weight_v"):
            nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[1]))
        elif name.endswith("project.bias"):
            nn.init.zeros_(parameter)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Codebook):
                for projection in (module.in_project, module.out_project):
                    projection.weight_g.copy_(projection.weight_v.norm(dim=(1, 2), keepdim=True))
                module.codebook.weight.copy_(F.normalize(module.codebook.weight, dim=-1))


class FeatureDecoder(nn.Module):
    """Decoder half of the codec: stored in the official file, never used at inference."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.decoder = nn.Sequential(Backbone(dims), nn.Linear(dims.vocos_dim, dims.hidden_size))

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, T, W) to (B, T, W)."""
        found: Tensor = self.decoder(embedding.transpose(1, 2))
        return found


class Semantic(nn.Module):
    """Stacked mels to tap features, normalised features, code embeddings."""

    mean: Tensor
    variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = new_encoder()
        self.codec = new_codec()
        self.decoder = FeatureDecoder(self.codec.dims)
        start_backbone(self.decoder)
        self.tap_heads = Heads(spectrum=False)
        self.code_heads = Heads(spectrum=True)
        self.register_buffer("mean", torch.zeros(SEMANTIC_WIDTH))
        self.register_buffer("variance", torch.ones(SEMANTIC_WIDTH))

    def tap(self, stacked: Tensor, mask: Tensor) -> Tensor:
        """(B, T, 160) to the output of the last layer (B, T, W)."""
        hidden: Tensor = self.encoder(stacked, attention_mask=mask.long()).last_hidden_state
        return hidden.float()

    def normalised(self, tap: Tensor, mask: Tensor) -> Tensor:
        """(tap - mean) / sqrt(variance) with running statistics that follow while training."""
        if self.training:
            valid = tap.detach()[mask]
            self.mean.lerp_(valid.mean(0), STATISTICS_MOMENTUM)
            self.variance.lerp_(valid.var(0), STATISTICS_MOMENTUM)
        return (tap - self.mean) / self.variance.sqrt()

    def points(self, features: Tensor) -> Tensor:
        """Normalised features (B, T, W) to unit vectors (B, T, 8) before quantisation."""
        z = self.codec.book.in_project(self.codec.encoder(features.transpose(1, 2)).transpose(1, 2))
        return F.normalize(z.transpose(1, 2).float(), dim=-1)

    def nearest(self, points: Tensor) -> Tensor:
        """Codes (B, T) of unit vectors."""
        return (points @ F.normalize(self.codec.book.codebook.weight, dim=-1).T).argmax(-1)

    def project(self, quantised: Tensor) -> Tensor:
        """(B, T, 8) to embeddings S (B, T, W)."""
        found: Tensor = self.codec.book.out_project(quantised.transpose(1, 2)).transpose(1, 2)
        return found
