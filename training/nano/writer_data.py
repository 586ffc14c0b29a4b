"""Batches for `code_writer`: what was said in every code's time, by whom, and the encoder's codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.nano.batches import IGNORED, LengthBatches, length_mask, padded
from training.nano.phonemes import alphabet_of
from training.nano.shard import Row, load_shard
from training.nano.speakers import VoiceBank, speakers
from training.nano.tracks import Track, track_of
from training.nano.workspace import Workspace

BATCH_CODES = 4000
SCORE_FIELDS = ("symbols", "durations", "f0_hz", "energy")


@dataclass(frozen=True)
class WriterBatch:
    """(B, T) symbol, phone, codes and mask; (B, T, 5) shape; (B, 256) style. Codes are IGNORED where there are none."""

    symbol: Tensor
    phone: Tensor
    shape: Tensor
    style: Tensor
    codes: Tensor
    mask: Tensor


class Readings:
    """Rows with the fields of a `Score` to what a `CodeWriter` reads."""

    def __init__(self, workspace: Workspace) -> None:
        self._alphabet = alphabet_of(workspace.kokoro)
        self._voices = VoiceBank(workspace.kokoro / "voices")
        self._cast = {speaker.name: speaker for speaker in speakers(workspace.kokoro / "voices")}

    def track(self, row: Row, codes: int | None = None) -> Track:
        return track_of(row, self._alphabet, codes)

    def style(self, row: Row) -> np.ndarray:
        """(256,), the row of the teacher's table that it spoke with."""
        return self._voices.style(self._cast[row["speaker"]], len(row["symbols"]) - 2)


def batch_of(
    tracks: list[Track], styles: list[np.ndarray], codes: list[np.ndarray] | None, device: str
) -> WriterBatch:
    return WriterBatch(
        symbol=padded([track.symbol for track in tracks], 0, device).long(),
        phone=padded([track.phone for track in tracks], 0, device).long(),
        shape=padded([track.shape for track in tracks], 0, device),
        style=torch.from_numpy(np.stack(styles)).to(device),
        codes=padded(codes or [np.zeros(len(track)) for track in tracks], IGNORED, device).long(),
        mask=length_mask([len(track) for track in tracks], device),
    )


class WriterData:
    """All recordings of a split."""

    def __init__(self, workspace: Workspace, split: str, generator: np.random.Generator, device: str) -> None:
        readings = Readings(workspace)
        self._tracks: list[Track] = []
        self._styles: list[np.ndarray] = []
        self._codes: list[np.ndarray] = []
        self._device = device
        for path in sorted(workspace.codes(split).glob("*.npz")):
            spoken = load_shard(workspace.audio(split) / path.name, SCORE_FIELDS)
            for row, coded in zip(spoken, load_shard(path, ("codes",)), strict=True):
                self._tracks.append(readings.track(row, len(coded["codes"])))
                self._styles.append(readings.style(row))
                self._codes.append(coded["codes"])
        if not self._tracks:
            raise FileNotFoundError(f"no codes for {split}; run `python -m training.nano.codes` first")
        self._batches = LengthBatches([len(track) for track in self._tracks], BATCH_CODES, generator)

    def draw(self) -> WriterBatch:
        return self._batch(self._batches.draw())

    def everything(self) -> list[WriterBatch]:
        order = sorted(range(len(self._tracks)), key=lambda index: len(self._tracks[index]))
        return [self._batch(order[first : first + 8]) for first in range(0, len(order), 8)]

    def _batch(self, chosen: list[int]) -> WriterBatch:
        return batch_of(
            [self._tracks[index] for index in chosen],
            [self._styles[index] for index in chosen],
            [self._codes[index] for index in chosen],
            self._device,
        )
