"""From semantic features to codes: the encoder side of the codec (indextts2-front.md 4, indextts2.5-delta.md 5)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.indextts2.codec.backbone import Backbone
from deployments.indextts2.codec.codebook import Codebook
from deployments.indextts2.dims import CodecDims
from deployments.weights.tensors import load_strict, without_values


class Quantizer(nn.Module):
    """The checkpoint keeps a list of quantisers; the model has one."""

    def __init__(self, dims: CodecDims) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList([Codebook(dims)])


class SemanticCodec(nn.Module):
    def __init__(self, dims: CodecDims, *, steps_per_code: int = 1) -> None:
        """`steps_per_code`: features that become one code. Where it is 2 a convolution halves their rate."""
        super().__init__()
        self.dims = dims
        width = dims.hidden_size
        self.down = nn.Conv1d(width, width, 3, stride=2, padding=1) if steps_per_code == 2 else None
        self.encoder = nn.Sequential(Backbone(dims), nn.Linear(dims.vocos_dim, dims.hidden_size))
        self.quantizer = Quantizer(dims)

    @property
    def book(self) -> Codebook:
        book = self.quantizer.quantizers[0]
        assert isinstance(book, Codebook)
        return book

    @torch.inference_mode()
    def quantize(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised features (B,T,W) to n codes (B,n) int64 and their embeddings (B,n,W), where n is T over
        `steps_per_code`, rounded up."""
        x = features.transpose(1, 2)
        if self.down is not None:
            x = F.gelu(self.down(x))
        z = self.book.in_project(self.encoder(x).transpose(1, 2))
        codes = self.book.distances(z).argmin(-1)
        return codes, self.book.embed(codes).transpose(1, 2)

    @torch.inference_mode()
    def vq2emb(self, codes: Tensor) -> Tensor:
        """Codes (B,T), each below codebook_size, to embeddings (B,W,T)."""
        return self.book.embed(codes)


def load_semantic_codec(
    tensors: Mapping[str, Tensor],
    dims: CodecDims,
    *,
    source: str,
    steps_per_code: int = 1,
    device: torch.device | str = "cpu",
) -> SemanticCodec:
    """The codec in float32 from the tensors of its file; the stored decoder half is not used here."""
    decoding = ("decoder.", "up.") if steps_per_code == 2 else ("decoder.",)
    with without_values():
        codec = SemanticCodec(dims, steps_per_code=steps_per_code)
    load_strict(codec, tensors, source=source, unused=lambda name: name.startswith(decoding))
    return codec.to(device)
