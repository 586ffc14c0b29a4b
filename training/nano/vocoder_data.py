"""Random stretches of wave and mel for the vocoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.nano.acoustics import log_mel
from training.nano.config import HOP
from training.nano.shard import load_shards


class WaveData:
    """All recordings of an audio folder as int16 arrays; mels are made from the wave itself."""

    def __init__(self, folder: Path, generator: np.random.Generator, device: str) -> None:
        self.waves = [row["wave"] for row in load_shards(folder)]
        if not self.waves:
            raise FileNotFoundError(f"no audio in {folder}; run `python -m training.nano.data` first")
        lengths = np.array([len(wave) for wave in self.waves], np.float64)
        self._shares = lengths / lengths.sum()
        self._generator = generator
        self._device = device

    def draw(self, rows: int, frames: int) -> tuple[Tensor, Tensor]:
        """Mels (rows, 80, frames) and waves (rows, 256 frames), with a random gain of up to 12 dB down."""
        samples = frames * HOP
        cut = np.zeros((rows, samples), np.float32)
        for row, index in enumerate(self._generator.choice(len(self.waves), rows, p=self._shares)):
            wave = self.waves[index]
            start = int(self._generator.integers(max(1, len(wave) - samples)))
            piece = wave[start : start + samples]
            cut[row, : len(piece)] = piece * (10 ** -self._generator.uniform(0, 0.6) / 32767)
        waves = torch.from_numpy(cut).to(self._device)
        return log_mel(waves), waves

    def whole(self, index: int) -> tuple[Tensor, Tensor]:
        """Mel (1, 80, T) and wave (1, 256 T) of one recording."""
        wave = self.waves[index]
        count = len(wave) // HOP * HOP
        waves = torch.from_numpy(wave[:count].astype(np.float32) / 32767)[None].to(self._device)
        return log_mel(waves), waves
