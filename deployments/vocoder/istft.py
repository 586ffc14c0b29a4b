"""A light vocoder: ConvNeXt blocks over the mel, then an inverse STFT (guides/nano-recipe.md 7A)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.checkpoints.tensors import load_strict, read_tensors
from deployments.errors import CheckpointError

MEL_SHIFT, MEL_SCALE = 5.0, 3.0  # log-mels lie around -5
MAX_MAGNITUDE = 100.0


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
        """Frames of the convolutions, plus the neighbours whose windows overlap the samples of a frame."""
        convolutions = (self.layers + 1) * (self.kernel // 2)
        return convolutions + (self.n_fft - 1 - self.trim) // self.hop


class Block(nn.Module):
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
        self.blocks = nn.ModuleList(Block(dims) for _ in range(dims.layers))
        self.final_norm = nn.LayerNorm(dims.hidden)
        self.head = nn.Linear(dims.hidden, dims.n_fft + 2)

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel (B, 80, T) of equal lengths -> wave (B, hop * T) in [-1, 1]."""
        x = self.norm(self.embed(((mel + MEL_SHIFT) / MEL_SCALE).to(self.embed.weight.dtype)).mT)
        for block in self.blocks:
            x = block(x)
        magnitude, phase = self.head(self.final_norm(x)).float().chunk(2, dim=-1)
        spectrum = torch.polar(magnitude.exp().clamp(max=MAX_MAGNITUDE), phase)
        return self._overlap_add(torch.fft.irfft(spectrum, n=self.dims.n_fft)).clamp(-1, 1)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """(B, T, n_fft) -> (B, hop * T), divided by the summed squares of the windows that are there."""
        window = torch.hann_window(self.dims.n_fft, device=frames.device)
        both = torch.stack([frames * window, window.square().expand_as(frames)], dim=1).flatten(0, 1)
        length = (frames.shape[1] - 1) * self.hop + self.dims.n_fft
        summed = F.fold(both.mT, (1, length), (1, self.dims.n_fft), stride=(1, self.hop))
        wave, weight = summed.flatten(1).unflatten(0, (-1, 2)).unbind(1)
        inside = slice(self.dims.trim, length - self.dims.trim)
        return wave[:, inside] / weight[:, inside]


def load_istft(
    source: Path | Mapping[str, Tensor], config: Mapping[str, Any], *, device: torch.device | str = "cpu"
) -> IstftVocoder:
    """From `model.safetensors` (or its tensors) and `config.json`. CheckpointError if they do not fit."""
    tensors = read_tensors(source) if isinstance(source, Path) else source
    with torch.device("meta"):
        network = IstftVocoder(IstftDims.from_config(config))
    load_strict(network, tensors, source=str(source) if isinstance(source, Path) else "iSTFT vocoder tensors")
    return network.to(device)
