"""What every vocoder offers, and how pieces of a mel become exactly the samples that one pass would give."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from deployments.core.errors import CheckpointError
from deployments.networks.bigvgan import load_bigvgan
from deployments.networks.istft import load_istft

GENERATOR = "bigvgan_generator.pt"
WEIGHTS = "model.safetensors"


class Vocoder(Protocol):
    """halo_frames: mel frames on each side of a frame that its `hop` samples depend on."""

    mel_channels: int
    halo_frames: int
    hop: int
    sample_rate_hz: int

    def __call__(self, mel: Tensor) -> Tensor:
        """Log-mel (B, 80, T) of equal lengths -> wave (B, hop * T) in [-1, 1], both float32."""
        ...


def load_vocoder(
    folder: Path,
    weights: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Vocoder:
    """The vocoder in `folder`: `config.json` beside `weights`, or else `bigvgan_generator.pt` or `model.safetensors`.

    `dtype` is that of the convolutions; mel and wave stay float32.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: cannot be read as JSON ({error})") from error
    kind = config.get("type", "bigvgan")
    if kind == "istft":
        return load_istft(weights or folder / WEIGHTS, config, device=device).to(dtype)
    if kind == "bigvgan":
        generator = folder / GENERATOR
        usual = generator if generator.is_file() else folder / WEIGHTS
        return load_bigvgan(weights or usual, config, device=device).to(dtype)
    raise CheckpointError(f"{folder / 'config.json'}: type is {kind!r}, allowed are bigvgan and istft")


@dataclass(frozen=True)
class MelWindow:
    """Frames [start, end) of mel (80, T). The ends of `mel` count as true ends of the utterance.

    A mel that still grows needs `halo_frames` beyond `end`; one whose beginning was dropped needs as many
    before `start`.
    """

    mel: Tensor
    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end <= self.mel.shape[-1]:
            raise ValueError(f"frames [{self.start}, {self.end}) of a mel with {self.mel.shape[-1]} frames")


@torch.inference_mode()
def vocode_windows(vocoder: Vocoder, windows: Sequence[MelWindow]) -> list[Tensor]:
    """Samples of each window, ((end - start) * hop,) each.

    Windows that are equally long with their halo share a batch. Padding would be heard: a mel of 0 is loud,
    and it would reach `halo_frames` into the audio.
    """
    spans = [_with_halo(window, vocoder.halo_frames) for window in windows]
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for i, (first, last) in enumerate(spans):
        by_length[last - first].append(i)
    waves: dict[int, Tensor] = {}
    for members in by_length.values():
        batch = vocoder(torch.stack([windows[i].mel[:, slice(*spans[i])] for i in members]))
        for i, wave in zip(members, batch, strict=True):
            first = spans[i][0]
            waves[i] = wave[(windows[i].start - first) * vocoder.hop : (windows[i].end - first) * vocoder.hop]
    return [waves[i] for i in range(len(windows))]


def _with_halo(window: MelWindow, halo: int) -> tuple[int, int]:
    return max(0, window.start - halo), min(window.mel.shape[-1], window.end + halo)


def vocode_window(vocoder: Vocoder, mel: Tensor, start: int, end: int) -> Tensor:
    """Samples of frames [start, end) of mel (80, T); ((end - start) * hop,)."""
    return vocode_windows(vocoder, [MelWindow(mel, start, end)])[0]


def vocode(vocoder: Vocoder, mels: Sequence[Tensor]) -> list[Tensor]:
    """Whole mels (80, T_i) of any lengths -> waves (hop * T_i,)."""
    return vocode_windows(vocoder, [MelWindow(mel, 0, mel.shape[-1]) for mel in mels])
