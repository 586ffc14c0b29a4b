"""The quantiser of the semantic codec: features to codes and codes to embeddings (indextts2-front.md 4)."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.core.errors import CheckpointError
from deployments.indextts2.dims import CodecDims
from deployments.networks.weight_norm import fold_weight_norm, normed
from deployments.weights.tensors import load_strict, without_values

CODEBOOK = "quantizer.quantizers.0."
EMBEDDING_NAMES = ("codebook.weight", "out_project.bias", "out_project.weight_g", "out_project.weight_v")


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
    """Both sides of the quantiser."""

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


class CodeEmbedding(nn.Module):
    """The decoder side of the quantiser: row of the codebook, then a 1x1 projection. Runs after `fold_weight_norm`."""

    def __init__(self, codes: int, code_dim: int, hidden: int) -> None:
        super().__init__()
        self.codebook = nn.Embedding(codes, code_dim)
        self.out_project = normed(nn.Conv1d(code_dim, hidden, 1))

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (..., n) int64 -> (..., n, hidden) on the device. ValueError if one is outside the codebook.

        Codes that come on the CPU are looked at there: on the device that would wait for all its work under way.
        """
        known = self.codebook.num_embeddings
        # On a GPU an index out of range would kill the whole process.
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < known:
            raise ValueError(f"codes {int(codes.min())}..{int(codes.max())} are not all in 0..{known - 1}")
        rows = self.codebook(codes.to(self.codebook.weight.device))
        return F.linear(rows, self.out_project.weight.squeeze(-1), self.out_project.bias)


def load_code_embedding(path: Path, *, device: torch.device | str = "cpu") -> CodeEmbedding:
    """From `semantic_codec_model.safetensors`, of which only the codebook and its projection are read."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(CODEBOOK + name) for name in EMBEDDING_NAMES}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as a semantic codec ({error})") from error
    hidden, code_dim, _ = tensors["out_project.weight_v"].shape
    with without_values():
        embedding = CodeEmbedding(tensors["codebook.weight"].shape[0], code_dim, hidden)
    load_strict(embedding, tensors, source=str(path))
    fold_weight_norm(embedding)
    return embedding.to(device)
