"""Waves as 16-bit samples (indextts2-back.md 5)."""

from __future__ import annotations

import torch
from torch import Tensor

FULL_SCALE = 32767.0


def scaled(wave: Tensor) -> Tensor:
    """Wave in [-1, 1] -> float32 in the range of int16."""
    return (wave * FULL_SCALE).clamp(-FULL_SCALE, FULL_SCALE)


def int16(wave: Tensor) -> Tensor:
    """Wave in [-1, 1] -> int16, truncated toward zero as the model does, not rounded."""
    return scaled(wave).to(torch.int16)
