"""Windowed-sinc resampling, bit-equal to the one the models were built with (indextts2-back.md 1)."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

ZERO_CROSSINGS = 6
ROLLOFF = 0.99


def resample(wave: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """(..., N) float32 at `from_hz` -> (..., ceil(N * to_hz / from_hz)) float32 at `to_hz`."""
    if from_hz <= 0 or to_hz <= 0:
        raise ValueError(f"sample rates must be positive, not {from_hz} and {to_hz} Hz")
    if from_hz == to_hz:
        return wave
    divisor = math.gcd(from_hz, to_hz)
    old, new = from_hz // divisor, to_hz // divisor
    kernel, reach = _kernel(old, new)
    flat = wave.reshape(-1, 1, wave.shape[-1])
    phases = F.conv1d(F.pad(flat, (reach, reach + old)), kernel.to(wave.device), stride=old)
    length = -(-new * wave.shape[-1] // old)
    return phases.mT.reshape(len(flat), -1)[:, :length].reshape(*wave.shape[:-1], length)


@lru_cache(maxsize=16)
def _kernel(old: int, new: int) -> tuple[Tensor, int]:
    """Filters (new, 1, taps) float32, one per output phase, and their reach in input samples."""
    base = min(old, new) * ROLLOFF
    reach = math.ceil(ZERO_CROSSINGS * old / base)
    # The phase is rounded to float32 before it meets the float64 tap positions; bit equality depends on it.
    phase = (torch.arange(0, -new, -1, dtype=torch.float32) / new)[:, None, None]
    taps = torch.arange(-reach, reach + old, dtype=torch.float64)[None, None] / old
    u = ((phase + taps) * base).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = torch.cos(u * math.pi / ZERO_CROSSINGS / 2).square()
    angle = u * math.pi
    sinc = torch.where(angle == 0, torch.ones_like(angle), angle.sin() / angle)
    return (sinc * window * (base / old)).float(), reach
