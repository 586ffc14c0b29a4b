"""Semantic codes to features: the decoder side of the codec's quantiser (indextts2-front.md 4, `vq2emb`)."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.core.errors import CheckpointError
from deployments.networks.weight_norm import fold_weight_norm, normed
from deployments.weights.tensors import load_strict

PREFIX = "quantizer.quantizers.0."
NAMES = ("codebook.weight", "out_project.bias", "out_project.weight_g", "out_project.weight_v")


class CodeEmbedding(nn.Module):
    """Row of the codebook, then a 1x1 projection. Runs after `fold_weight_norm`."""

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
            tensors = {name: file.get_tensor(PREFIX + name) for name in NAMES}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as a semantic codec ({error})") from error
    hidden, code_dim, _ = tensors["out_project.weight_v"].shape
    with torch.device("meta"):
        embedding = CodeEmbedding(tensors["codebook.weight"].shape[0], code_dim, hidden)
    load_strict(embedding, tensors, source=str(path))
    fold_weight_norm(embedding)
    return embedding.to(device)
