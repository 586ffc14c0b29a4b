"""RepCodec: semantic features to codes and back to embeddings (indextts2-front.md 4)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.indextts2.dims import CodecDims
from deployments.weights.tensors import load_strict, without_values

NORM_EPS = 1e-6


class ConvNextBlock(nn.Module):
    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.pwconv1 = nn.Linear(dim, inner)
        self.pwconv2 = nn.Linear(inner, dim)
        self.gamma = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        residual = self.norm(self.dwconv(x).transpose(1, 2))
        residual = self.gamma * self.pwconv2(F.gelu(self.pwconv1(residual)))
        return x + residual.transpose(1, 2)


class Backbone(nn.Module):
    """(B,W,T) to (B,T,vocos_dim)."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.embed = nn.Conv1d(dims.hidden_size, dims.vocos_dim, kernel_size=7, padding=3)
        self.norm = nn.LayerNorm(dims.vocos_dim, eps=NORM_EPS)
        self.convnext = nn.ModuleList(
            ConvNextBlock(dims.vocos_dim, dims.vocos_intermediate_dim) for _ in range(dims.vocos_num_layers)
        )
        self.final_layer_norm = nn.LayerNorm(dims.vocos_dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.embed(x).transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x)
        return self.final_layer_norm(x.transpose(1, 2))


class NormedProjection(nn.Module):
    """1×1 convolution in the two-tensor weight-norm form of the checkpoint."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight_v = nn.Parameter(torch.empty(outputs, inputs, 1))
        self.weight_g = nn.Parameter(torch.empty(outputs, 1, 1))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        norm = self.weight_v.norm(dim=(1, 2), keepdim=True)
        return F.conv1d(x, self.weight_v * (self.weight_g / norm), self.bias)


class Codebook(nn.Module):
    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.in_project = NormedProjection(dims.hidden_size, dims.codebook_dim)
        self.out_project = NormedProjection(dims.codebook_dim, dims.hidden_size)
        self.codebook = nn.Embedding(dims.codebook_size, dims.codebook_dim)

    def distances(self, z: Tensor) -> Tensor:
        """Squared distances (B,T,codebook_size) of z (B,8,T) to the entries, both on the unit sphere."""
        points = F.normalize(z.transpose(1, 2), dim=-1)
        entries = F.normalize(self.codebook.weight, dim=-1)
        squares = points.square().sum(-1, keepdim=True)
        return squares - 2 * points @ entries.T + entries.square().sum(-1)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes (B,T) to (B,W,T). The codebook row is taken as stored, not normalised."""
        return self.out_project(self.codebook(codes).transpose(1, 2))


class Quantizer(nn.Module):
    """The checkpoint keeps a list of quantisers; the model has one."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList([Codebook(dims)])


class SemanticCodec(nn.Module):
    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.dims = dims
        self.encoder = nn.Sequential(Backbone(dims), nn.Linear(dims.vocos_dim, dims.hidden_size))
        self.quantizer = Quantizer(dims)

    @property
    def book(self) -> Codebook:
        book = self.quantizer.quantizers[0]
        assert isinstance(book, Codebook)
        return book

    @torch.inference_mode()
    def quantize(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised features (B,T,W) to codes (B,T) int64 and their embeddings (B,T,W)."""
        z = self.book.in_project(self.encoder(features.transpose(1, 2)).transpose(1, 2))
        codes = self.book.distances(z).argmin(-1)
        return codes, self.book.embed(codes).transpose(1, 2)

    @torch.inference_mode()
    def vq2emb(self, codes: Tensor) -> Tensor:
        """Codes (B,T), each below codebook_size, to embeddings (B,W,T)."""
        return self.book.embed(codes)


def load_semantic_codec(
    tensors: Mapping[str, Tensor], dims: CodecDims, *, source: str, device: torch.device | str = "cpu"
) -> SemanticCodec:
    """The codec in float32 from the tensors of its file; the stored decoder half is never used."""
    with without_values():
        codec = SemanticCodec(dims)
    load_strict(codec, tensors, source=source, unused=lambda name: name.startswith("decoder."))
    return codec.to(device)
