"""Waves to the features of the specs, in batches of one: log-mel, encoder input, CAM++ fbank."""

from __future__ import annotations

from functools import lru_cache

import torch
import torchaudio
from torch import Tensor
from torchaudio.compliance import kaldi

from deployments.networks.mel_bank import MAGNITUDE_EPSILON, MEL_FLOOR, mel_bank
from training.nano.config import HOP, MEL_BANDS, SAMPLE_RATE_HZ

_FFT = 1024
_FBANK_FLOOR = 1.192092955078125e-07


@lru_cache(maxsize=4)
def mel_filters(device: str = "cpu") -> Tensor:
    """Filters (80, 513) up to 11 025 Hz (indextts2-back.md 1)."""
    bank = mel_bank(MEL_BANDS, _FFT, SAMPLE_RATE_HZ, 0.0, SAMPLE_RATE_HZ / 2)
    return torch.from_numpy(bank).to(device)


def log_mel(wave: Tensor) -> Tensor:
    """(B, N) at 22 050 Hz in [-1, 1] to (B, 80, N // 256) natural-log mel (indextts2-back.md 1)."""
    padding = (_FFT - HOP) // 2
    padded = torch.nn.functional.pad(wave[:, None], (padding, padding), mode="reflect")[:, 0]
    window = torch.hann_window(_FFT, device=wave.device)
    spectrum = torch.stft(padded, _FFT, HOP, window=window, center=False, return_complex=True)
    magnitude = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + MAGNITUDE_EPSILON)
    return torch.log(torch.clamp(mel_filters(str(wave.device)) @ magnitude, min=MEL_FLOOR))


def to_16k(wave: Tensor) -> Tensor:
    """22 050 Hz to 16 kHz with torchaudio's windowed sinc, as the reference does (indextts2-front.md 3.1)."""
    return torchaudio.functional.resample(wave, SAMPLE_RATE_HZ, 16_000)


def encoder_input(wave_16k: Tensor) -> Tensor:
    """(N,) to (T, 160): Kaldi log-mels, normalised per utterance and stacked by two (indextts2-front.md 3.2).

    An odd last frame is padded with ones, as the feature extractor does; callers mask that stacked frame.
    """
    fbank = _fbank(wave_16k * 2**15)
    fbank = (fbank - fbank.mean(0)) / torch.sqrt(fbank.var(0, unbiased=True) + 1e-7)
    if len(fbank) % 2:
        fbank = torch.cat([fbank, torch.ones(1, MEL_BANDS)])
    return fbank.reshape(-1, 2 * MEL_BANDS)


def style_input(wave_16k: Tensor) -> Tensor:
    """(N,) to (N_f, 80): mean-free Kaldi fbank for CAM++ (indextts2-back.md 2.1)."""
    fbank = _fbank(wave_16k)
    return fbank - fbank.mean(0)


def _fbank(wave: Tensor) -> Tensor:
    return kaldi.fbank(
        wave[None],
        num_mel_bins=MEL_BANDS,
        sample_frequency=16_000,
        dither=0.0,
        low_freq=20.0,
        high_freq=8000.0,
    )
