"""Kaldi filter banks, the input of the style network (indextts2-back.md 2.1)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

SAMPLE_RATE_HZ = 16000
FRAME = 400
SHIFT = 160
FFT = 512
BANDS = 80
LOW_HZ = 20.0
PRE_EMPHASIS = 0.97
FLOOR = 1.1920929e-07  # float32 epsilon


@torch.inference_mode()
def kaldi_fbank(wave: Tensor) -> Tensor:
    """(N,) float32 at 16 kHz in [-1, 1], not scaled to int16 -> log energies (1 + (N - 400) // 160, 80).

    No dither; only complete frames. ValueError if there is none.
    """
    if wave.dim() != 1 or wave.shape[0] < FRAME:
        raise ValueError(f"need one wave of at least {FRAME} samples, got shape {tuple(wave.shape)}")
    frames = wave.unfold(0, FRAME, SHIFT)
    frames = frames - frames.mean(dim=1, keepdim=True)
    previous = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    window, bank = _tables()
    emphasised = (frames - PRE_EMPHASIS * previous) * window.to(wave.device)
    power = torch.fft.rfft(emphasised, n=FFT).abs().square()
    return (power[:, :-1] @ bank.to(wave.device)).clamp(min=FLOOR).log()


def centred(fbank: Tensor) -> Tensor:
    """What the style network takes: (N_f, 80) less its mean over the utterance."""
    return fbank - fbank.mean(dim=0, keepdim=True)


@lru_cache(maxsize=1)
def _tables() -> tuple[Tensor, Tensor]:
    """Povey window (400,) and triangles, linear in mel, (256, 80); the Nyquist bin has no weight."""
    window = torch.hann_window(FRAME, periodic=False, dtype=torch.float64).pow(0.85)
    low, high = _mel(torch.tensor([LOW_HZ, SAMPLE_RATE_HZ / 2], dtype=torch.float64))
    step = (high - low) / (BANDS + 1)
    left = low + step * torch.arange(BANDS)
    bins = _mel(torch.arange(FFT // 2, dtype=torch.float64) * SAMPLE_RATE_HZ / FFT)[:, None]
    rising, falling = (bins - left) / step, (left + 2 * step - bins) / step
    return window.float(), torch.minimum(rising, falling).clamp(min=0).float()


def _mel(hz: Tensor) -> Tensor:
    return 1127 * torch.log1p(hz / 700)
