"""A light vocoder: ConvNeXt blocks over the mel, then an inverse STFT (training/nano/recipe.md 7).

What a small network gets wrong most is the loudness of the bands, and that is known: it is the mel. So the wave may
be fitted to it afterwards (`mel_fits` times): its spectrum is scaled band by band, phases kept, and inverted again.
These are steps of Griffin and Lim (1984) with the mel in the place of the magnitudes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.core.errors import CheckpointError
from deployments.networks.mel import MAGNITUDE_EPSILON, MEL_FLOOR, mel_bank
from deployments.weights.tensors import load_strict, read_tensors, without_values

MEL_SHIFT, MEL_SCALE = 5.0, 3.0  # log-mels lie around -5
MAX_MAGNITUDE = 100.0
# A fit goes half of the way, in log: the mels of s2mel are blurred, and a wave that follows them all the way sounds so.
FIT_STRENGTH = 0.5
LEAST_WEIGHT = 1e-3  # of overlapping windows: at the very ends of a wave they vanish


@dataclass(frozen=True)
class IstftDims:
    mel_channels: int = 80
    hidden: int = 256
    inner: int = 768
    layers: int = 6
    kernel: int = 7
    n_fft: int = 1024
    hop: int = 256
    sample_rate_hz: int = 22050
    mel_fits: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> IstftDims:
        """From `config.json`: type "istft" and any fields of this class; other keys raise CheckpointError."""
        given = {name: value for name, value in config.items() if name != "type"}
        if unknown := sorted(given.keys() - cls.__dataclass_fields__.keys()):
            allowed = ", ".join(cls.__dataclass_fields__)
            raise CheckpointError(
                f"config.json: unknown keys {', '.join(unknown)}; allowed are type, {allowed}"
            )
        return cls(**given)

    @property
    def trim(self) -> int:
        """Samples cut from both ends, so that frame k gives the samples from hop * k on."""
        return (self.n_fft - self.hop) // 2

    @property
    def halo_frames(self) -> int:
        """Frames of the convolutions, plus the neighbours whose windows overlap the samples of a frame.

        A fit hears a frame through all windows that overlap its own.
        """
        convolutions = (self.layers + 1) * (self.kernel // 2)
        fits = self.mel_fits * ((self.n_fft - 1) // self.hop)
        return convolutions + fits + (self.n_fft - 1 - self.trim) // self.hop


class IstftBlock(nn.Module):
    def __init__(self, dims: IstftDims) -> None:
        super().__init__()
        width = dims.hidden
        self.dwconv = nn.Conv1d(width, width, dims.kernel, padding=dims.kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.pwconv1 = nn.Linear(width, dims.inner)
        self.pwconv2 = nn.Linear(dims.inner, width)
        self.gamma = nn.Parameter(torch.full((width,), 1 / dims.layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)"""
        y = self.norm(self.dwconv(x.mT).mT)
        return x + self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))


class IstftVocoder(nn.Module):
    """Satisfies `Vocoder`."""

    def __init__(self, dims: IstftDims) -> None:
        super().__init__()
        self.dims = dims
        self.mel_channels, self.hop, self.halo_frames = dims.mel_channels, dims.hop, dims.halo_frames
        self.sample_rate_hz = dims.sample_rate_hz
        self.embed = nn.Conv1d(dims.mel_channels, dims.hidden, dims.kernel, padding=dims.kernel // 2)
        self.norm = nn.LayerNorm(dims.hidden)
        self.blocks = nn.ModuleList(IstftBlock(dims) for _ in range(dims.layers))
        self.final_norm = nn.LayerNorm(dims.hidden)
        self.head = nn.Linear(dims.hidden, dims.n_fft + 2)

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel (B, 80, T) of equal lengths -> wave (B, hop * T) in [-1, 1]."""
        x = self.norm(self.embed(((mel + MEL_SHIFT) / MEL_SCALE).to(self.embed.weight.dtype)).mT)
        for block in self.blocks:
            x = block(x)
        magnitude, phase = self.head(self.final_norm(x)).float().chunk(2, dim=-1)
        spectrum = torch.polar(magnitude.exp().clamp(max=MAX_MAGNITUDE), phase)
        wave = self._overlap_add(spectrum)
        for _ in range(self.dims.mel_fits):
            wave = self._overlap_add(self._fitted(wave, mel))
        return wave[:, self.dims.trim : wave.shape[1] - self.dims.trim].clamp(-1, 1)

    def _fitted(self, wave: Tensor, mel: Tensor) -> Tensor:
        """Spectrum (B, T, bins) of an untrimmed wave, each bin scaled by what the bands around it lack."""
        bank, shares, held = _bands(self.dims, str(wave.device))
        frames = wave.unfold(1, self.dims.n_fft, self.hop)
        spectrum = torch.fft.rfft(frames * torch.hann_window(self.dims.n_fft, device=wave.device))
        magnitude = (spectrum.real.square() + spectrum.imag.square() + MAGNITUDE_EPSILON).sqrt()
        lacking = (mel.mT.float().exp() / (magnitude @ bank.T).clamp(min=MEL_FLOOR)) ** FIT_STRENGTH
        return spectrum * torch.where(held, lacking @ shares, 1.0)

    def _overlap_add(self, spectrum: Tensor) -> Tensor:
        """(B, T, bins) -> (B, hop * (T - 1) + n_fft), divided by the summed squares of the windows that are there."""
        frames = torch.fft.irfft(spectrum, n=self.dims.n_fft)
        window = torch.hann_window(self.dims.n_fft, device=frames.device)
        both = torch.stack([frames * window, window.square().expand_as(frames)], dim=1).flatten(0, 1)
        length = (frames.shape[1] - 1) * self.hop + self.dims.n_fft
        summed = F.fold(both.mT, (1, length), (1, self.dims.n_fft), stride=(1, self.hop))
        wave, weight = summed.flatten(1).unflatten(0, (-1, 2)).unbind(1)
        return wave / weight.clamp(min=LEAST_WEIGHT)


@lru_cache(maxsize=4)
def _bands(dims: IstftDims, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Filters (mel_channels, bins), the shares of the bands in every bin, and the bins (bins,) that have any.

    No band holds the lowest bin and the highest one.
    """
    half_rate_hz = dims.sample_rate_hz / 2
    bank = mel_bank(dims.mel_channels, dims.n_fft, dims.sample_rate_hz, 0.0, half_rate_hz).to(device)
    return bank, bank / bank.sum(dim=0).clamp(min=torch.finfo().tiny), bank.any(dim=0)


def load_istft(
    source: Path | Mapping[str, Tensor], config: Mapping[str, Any], *, device: torch.device | str = "cpu"
) -> IstftVocoder:
    """From `model.safetensors` (or its tensors) and `config.json`. CheckpointError if they do not fit."""
    tensors = read_tensors(source) if isinstance(source, Path) else source
    with without_values():
        network = IstftVocoder(IstftDims.from_config(config))
    load_strict(network, tensors, source=str(source) if isinstance(source, Path) else "iSTFT vocoder tensors")
    return network.to(device)
