"""Log-mel spectrogram of the s2mel and vocoder networks, and the mel filters of it (indextts2-back.md 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchaudio.functional import melscale_fbanks

# Under the root of the magnitudes, and under the logarithm of the bands.
MAGNITUDE_EPSILON = 1e-9
MEL_FLOOR = 1e-5


@dataclass(frozen=True)
class MelDims:
    sample_rate_hz: int
    n_fft: int
    window: int
    hop: int
    bands: int
    low_hz: float
    high_hz: float


def mel_bank(bands: int, n_fft: int, sample_rate_hz: int, low_hz: float, high_hz: float) -> Tensor:
    """Slaney's triangles of equal area, linear below 1 kHz: (bands, n_fft / 2 + 1) float32."""
    bank = melscale_fbanks(
        n_fft // 2 + 1, low_hz, high_hz, bands, sample_rate_hz, norm="slaney", mel_scale="slaney"
    )
    return bank.T.contiguous()


class LogMel:
    """Frame k covers the samples around hop * k; a wave of N samples has N // hop frames."""

    def __init__(self, dims: MelDims, *, device: torch.device | str = "cpu") -> None:
        self.dims = dims
        self._window = torch.hann_window(dims.window, device=device)
        bank = mel_bank(dims.bands, dims.n_fft, dims.sample_rate_hz, dims.low_hz, dims.high_hz)
        self._bank = bank.to(device)

    @torch.inference_mode()
    def __call__(self, wave: Tensor) -> Tensor:
        """(B, N) float32 in [-1, 1] -> natural-log mel (B, bands, N // hop). ValueError if N is too small."""
        dims = self.dims
        edge = (dims.n_fft - dims.hop) // 2
        if wave.shape[-1] <= edge:
            raise ValueError(f"{wave.shape[-1]} samples are too few for a spectrogram: {edge + 1} are needed")
        padded = F.pad(wave[:, None], (edge, edge), mode="reflect")[:, 0]
        spectrum = torch.stft(
            padded, dims.n_fft, dims.hop, dims.window, self._window, center=False, return_complex=True
        )
        power = torch.view_as_real(spectrum).square().sum(-1)
        return (self._bank @ (power + MAGNITUDE_EPSILON).sqrt()).clamp(min=MEL_FLOOR).log()
