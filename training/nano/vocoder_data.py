"""Random stretches of wave and mel for the vocoder."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deployments.networks.mel import MEL_FLOOR
from training.nano.acoustics import log_mel
from training.nano.config import HOP, MEL_BANDS
from training.nano.shard import load_shard

LOG_FLOOR = math.log(MEL_FLOOR)


class WaveData:
    """All recordings of an audio folder as int16 arrays; mels are made from the wave itself, or, for half of what is
    drawn, come from `generated` (training.nano.generated), if there are some.
    """

    def __init__(
        self, folder: Path, generator: np.random.Generator, device: str, generated: Path | None = None
    ) -> None:
        self.waves: list[np.ndarray] = []
        self._made: dict[int, np.ndarray] = {}  # (T, 80) by recording
        for path in sorted(folder.glob("*.npz")):
            made = generated / path.name if generated is not None else None
            if made is not None and made.exists():
                mels = (row["mel"] for row in load_shard(made))
                self._made |= dict(enumerate(mels, start=len(self.waves)))
            self.waves += [row["wave"] for row in load_shard(path)]
        if not self.waves:
            raise FileNotFoundError(f"no audio in {folder}; run `python -m training.nano.data` first")
        self._generator = generator
        self._device = device
        self._all = self._lottery(range(len(self.waves)))
        self._with_mel = self._lottery(self._made)

    def _lottery(self, indices: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """Recordings and their chances, by length."""
        chosen = np.array(list(indices), np.int64)
        lengths = np.array([len(self.waves[index]) for index in chosen], np.float64)
        return chosen, lengths / max(1.0, lengths.sum())

    def draw(self, rows: int, frames: int) -> tuple[Tensor, Tensor]:
        """Mels (rows, 80, frames) and waves (rows, 256 frames), with a random gain of up to 12 dB down."""
        made = rows // 2 if self._made else 0
        waves, mels = np.zeros((rows, frames * HOP), np.float32), {}
        for row in range(rows):
            indices, chances = self._with_mel if row < made else self._all
            index = int(self._generator.choice(indices, p=chances))
            gain = 10 ** -self._generator.uniform(0, 0.6)
            start = int(self._generator.integers(max(1, len(self.waves[index]) - frames * HOP)))
            if row < made:
                start -= start % HOP
                mels[row] = self._cut(index, start // HOP, frames, gain)
            piece = self.waves[index][start : start + frames * HOP]
            waves[row, : len(piece)] = piece * (gain / 32767)
        found = torch.from_numpy(waves).to(self._device)
        mel = log_mel(found)
        for row, own in mels.items():
            mel[row] = own
        return mel, found

    def _cut(self, index: int, start: int, frames: int, gain: float) -> Tensor:
        """(80, frames) of a generated mel, as quiet as its wave; silence where it is shorter."""
        piece = self._made[index][start : start + frames].astype(np.float32) + math.log(gain)
        cut = np.full((frames, MEL_BANDS), LOG_FLOOR, np.float32)
        cut[: len(piece)] = np.maximum(piece, LOG_FLOOR)
        return torch.from_numpy(cut.T)

    def whole(self, index: int) -> tuple[Tensor, Tensor]:
        """Mel (1, 80, T) and wave (1, 256 T) of one recording."""
        wave = self.waves[index]
        count = len(wave) // HOP * HOP
        waves = torch.from_numpy(wave[:count].astype(np.float32) / 32767)[None].to(self._device)
        return log_mel(waves), waves
