"""From codes and latents to the conditions of the flow: code embedding, GPT layer, length regulator.

indextts2-back.md 3; indextts2-front.md 4, `vq2emb`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from deployments.core.errors import CheckpointError
from deployments.indextts2.s2mel.dims import RegulatorDims
from deployments.networks.weight_norm import fold_weight_norm, normed
from deployments.weights.tensors import load_strict, without_values

CODEBOOK = "quantizer.quantizers.0."
CODEBOOK_NAMES = ("codebook.weight", "out_project.bias", "out_project.weight_g", "out_project.weight_v")


class CodeEmbedding(nn.Module):
    """The decoder side of the codec's quantiser: row of the codebook, then a 1x1 projection. Runs after
    `fold_weight_norm`."""

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
            tensors = {name: file.get_tensor(CODEBOOK + name) for name in CODEBOOK_NAMES}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as a semantic codec ({error})") from error
    hidden, code_dim, _ = tensors["out_project.weight_v"].shape
    with without_values():
        embedding = CodeEmbedding(tensors["codebook.weight"].shape[0], code_dim, hidden)
    load_strict(embedding, tensors, source=str(path))
    fold_weight_norm(embedding)
    return embedding.to(device)


def nearest_index(n_in: int, n_out: int) -> Tensor:
    """Source index of each of `n_out` positions, int64 (3.3).

    In float32, where exact integer arithmetic gives another index for every tenth code count.
    """
    if n_in == n_out:
        return torch.arange(n_out)
    if n_out == 2 * n_in:
        return torch.arange(n_out) // 2
    scale = np.float32(n_in) / np.float32(n_out)
    positions = np.floor(np.arange(n_out, dtype=np.float32) * scale).astype(np.int64)
    return torch.from_numpy(np.minimum(positions, n_in - 1))


class LengthRegulator(nn.Module):
    """Semantic features at code rate to conditions at frame rate.

    float32 in every mode: it is cheap, and the statistics of its norms span the whole sequence. So all conditions of a
    segment change with every code that is added, and only `project`, which sees one code at a time, can be kept.
    """

    def __init__(self, dims: RegulatorDims) -> None:
        super().__init__()
        width = dims.channels
        self.content_in_proj = nn.Linear(dims.in_channels, width)
        stages: list[nn.Module] = []
        for _ in range(dims.stages):
            stages += [nn.Conv1d(width, width, 3, padding=1), nn.GroupNorm(1, width), nn.Mish()]
        self.model = nn.Sequential(*stages, nn.Conv1d(width, width, 1))

    @staticmethod
    def unused(name: str) -> bool:
        return name in ("embedding.weight", "mask_token")

    def forward(self, features: Sequence[Tensor], out_frames: Sequence[int]) -> list[Tensor]:
        """Regulate each row as if alone: features (T_in, C_in) and frame counts -> conditions (T_out, C).

        Neither sequence may hold an empty row.
        """
        return self.regulate([self.project(row) for row in features], out_frames)

    def project(self, features: Tensor) -> Tensor:
        """(T_in, C_in) -> (T_in, C)"""
        return self.content_in_proj(features)

    def regulate(self, projected: Sequence[Tensor], out_frames: Sequence[int]) -> list[Tensor]:
        """The rest of `forward`, from rows (T_in, C) of `project`."""
        stretched = []
        for row, frames in zip(projected, out_frames, strict=True):
            if not len(row) or frames < 1:
                raise ValueError(f"{len(row)} features cannot become {frames} frames: both must be 1 or more")
            stretched.append(row[nearest_index(len(row), frames).to(row.device)])
        if len(set(out_frames)) == 1:
            return list(self.model(torch.stack(stretched).mT).mT)
        x = pad_sequence(stretched, batch_first=True).mT
        lengths = torch.tensor(out_frames, device=x.device)
        mask = (torch.arange(x.shape[-1], device=x.device) < lengths[:, None])[:, None].to(x.dtype)
        for layer in self.model:
            # The convolutions of a short row must see zeros beyond its end, its norms nothing at all.
            x = _masked_norm(x, layer, mask) if isinstance(layer, nn.GroupNorm) else layer(x * mask)
        return [row[:, :frames].mT for row, frames in zip(x, out_frames, strict=True)]


def _masked_norm(x: Tensor, norm: nn.GroupNorm, mask: Tensor) -> Tensor:
    """Group norm with one group over the frames where `mask` (B, 1, T) is 1."""
    count = x.shape[1] * mask.sum(dim=(1, 2), keepdim=True)
    mean = (x * mask).sum(dim=(1, 2), keepdim=True) / count
    variance = ((x - mean).square() * mask).sum(dim=(1, 2), keepdim=True) / count
    normal = (x - mean) * torch.rsqrt(variance + norm.eps)
    return normal * norm.weight[:, None] + norm.bias[:, None]
