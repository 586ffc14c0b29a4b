"""From features to the conditions of the flow: the length regulator (indextts2-back.md 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from deployments.indextts2.s2mel.dims import RegulatorDims


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
    """Semantic features to conditions at frame rate.

    float32 in every mode: it is cheap, and the statistics of its norms span the whole sequence. So all conditions of a
    segment change with every code that is added, and only `project`, which sees one feature at a time, can be kept.
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
