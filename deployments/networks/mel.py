"""Log-mel spectrogram of the s2mel and vocoder networks (indextts2-back.md 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from deployments.core.errors import CheckpointError
from deployments.networks.mel_bank import MAGNITUDE_EPSILON, MEL_FLOOR, mel_bank


@dataclass(frozen=True)
class MelDims:
    sample_rate_hz: int
    n_fft: int
    window: int
    hop: int
    bands: int
    low_hz: float
    high_hz: float

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MelDims:
        """From the whole `config.yaml`. CheckpointError if `s2mel.preprocess_params` is not complete."""
        try:
            params = config["s2mel"]["preprocess_params"]
            spect = params["spect_params"]
            rate = params["sr"]
            return cls(
                sample_rate_hz=rate,
                n_fft=spect["n_fft"],
                window=spect["win_length"],
                hop=spect["hop_length"],
                bands=spect["n_mels"],
                low_hz=spect["fmin"],
                # The model's own rule: the string "None" is half the rate, any other value is 8 kHz.
                high_hz=rate / 2 if spect.get("fmax", "None") == "None" else 8000.0,
            )
        except KeyError as error:
            raise CheckpointError(f"config.yaml: {error} is missing for the mel of s2mel") from None


class LogMel:
    """Frame k covers the samples around hop * k; a wave of N samples has N // hop frames."""

    def __init__(self, dims: MelDims, *, device: torch.device | str = "cpu") -> None:
        self.dims = dims
        self._window = torch.hann_window(dims.window, device=device)
        bank = mel_bank(dims.bands, dims.n_fft, dims.sample_rate_hz, dims.low_hz, dims.high_hz)
        self._bank = torch.from_numpy(bank).to(device)

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
