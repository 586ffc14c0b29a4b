"""Waves to the features of the specs: log-mel, encoder input."""

from __future__ import annotations

from functools import lru_cache

import torch
import torchaudio
from torch import Tensor
from torchaudio.compliance import kaldi

from deployments.networks.mel import LogMel, MelDims
from training.nano.config import HOP, MEL_BANDS, SAMPLE_RATE_HZ

_MEL = MelDims(SAMPLE_RATE_HZ, 1024, 1024, HOP, MEL_BANDS, 0.0, SAMPLE_RATE_HZ / 2)


@lru_cache(maxsize=4)
def _log_mel(device: str) -> LogMel:
    return LogMel(_MEL, device=device)


def log_mel(wave: Tensor) -> Tensor:
    """(B, N) at 22 050 Hz in [-1, 1] to (B, 80, N // 256) natural-log mel (indextts2-back.md 1); without gradient."""
    # A copy, because networks cannot learn from what inference mode has made.
    return _log_mel(str(wave.device))(wave).clone()


def to_16k(wave: Tensor) -> Tensor:
    """22 050 Hz to 16 kHz with torchaudio's windowed sinc, as the reference does (indextts2-front.md 3.1)."""
    return torchaudio.functional.resample(wave, SAMPLE_RATE_HZ, 16_000)


def encoder_input(wave_16k: Tensor) -> Tensor:
    """(N,) to (T, 160): Kaldi log-mels, normalised per utterance and stacked by two (indextts2-front.md 3.2).

    An odd last frame is padded with ones, as the feature extractor does; callers mask that stacked frame.
    """
    fbank = kaldi.fbank(wave_16k[None] * 2**15, num_mel_bins=MEL_BANDS, sample_frequency=16_000)
    fbank = (fbank - fbank.mean(0)) / torch.sqrt(fbank.var(0, unbiased=True) + 1e-7)
    if len(fbank) % 2:
        fbank = torch.cat([fbank, torch.ones(1, MEL_BANDS)])
    return fbank.reshape(-1, 2 * MEL_BANDS)
