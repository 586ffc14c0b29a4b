"""Multi-resolution spectral distance of waves (recipe.md 7)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from deployments.networks.mel import mel_bank
from training.nano.config import SAMPLE_RATE_HZ

_SIZES = ((256, 20), (512, 40), (1024, 80), (2048, 128))


@lru_cache(maxsize=8)
def _bank(size: int, bands: int, device: str) -> tuple[Tensor, Tensor]:
    filters = mel_bank(bands, size, SAMPLE_RATE_HZ, 0.0, SAMPLE_RATE_HZ / 2)
    return filters.to(device), torch.hann_window(size, device=device)


def spectral_loss(fake: Tensor, real: Tensor) -> Tensor:
    """(B, N) twice: mean over resolutions of L1 of log-mels + 0.1 spectral convergence."""
    total = torch.zeros((), device=fake.device)
    for size, bands in _SIZES:
        filters, window = _bank(size, bands, str(fake.device))

        def magnitude(wave: Tensor, size: int = size, window: Tensor = window) -> Tensor:
            spectrum = torch.stft(wave, size, size // 4, window=window, return_complex=True)
            return torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)

        a, b = magnitude(fake), magnitude(real)
        log_a, log_b = ((filters @ m).clamp(min=1e-5).log() for m in (a, b))
        convergence = (a - b).norm() / b.norm().clamp(min=1e-3)
        total = total + (log_a - log_b).abs().mean() + 0.1 * convergence
    return total / len(_SIZES)
