"""A tiny codec with random weights whose norms and biases all matter."""

from __future__ import annotations

import torch
from torch import Tensor

from deployments.indextts2.codec.decoder import CodeDecoder
from deployments.indextts2.codec.encoder import SemanticCodec
from deployments.indextts2.dims import CodecDims

DIMS = CodecDims(
    codebook_size=50,
    hidden_size=12,
    codebook_dim=4,
    vocos_dim=8,
    vocos_intermediate_dim=10,
    vocos_num_layers=2,
)


def codec_shapes(dims: CodecDims) -> dict[str, torch.Size]:
    """Of the tensors of both halves, as the file names them."""
    with torch.device("meta"):
        halves = (CodeDecoder(dims), SemanticCodec(dims, steps_per_code=2))
    return {name: value.shape for half in halves for name, value in half.state_dict().items()}


def codec_tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(shape, generator=generator) * 0.4 for name, shape in codec_shapes(DIMS).items()}
