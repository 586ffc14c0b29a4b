"""The channels of a recording, put right where mixing them would lose or spoil the voice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deployments.voices.quality import SILENT_RMS

OFFSET = 0.01  # a mean that is no sound: a bad sound card adds it
QUIETER = 0.01  # 40 dB below the other channel there is no voice, only crosstalk
CANCELLED = 0.1  # of the level that a mix would have


def sound_channels(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """`samples` (channels, N) with what is not sound left out, and notes about that for whoever sent them."""
    notes = []
    means = samples.mean(axis=1, dtype=np.float64, keepdims=True)
    if np.isfinite(means).all() and float(np.abs(means).max()) > OFFSET:
        samples = (samples - means).astype(np.float32)
        notes.append(
            f"A constant offset of {100 * float(np.abs(means).max()):.0f} % is taken out of the recording."
        )
    if len(samples) == 2:
        samples, note = _one_of_two(samples)
        notes.extend(note)
    return samples, tuple(notes)


def _one_of_two(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[str]]:
    levels = [_rms(channel) for channel in samples]
    louder = int(levels[1] > levels[0])
    name = ("left", "right")[louder]
    if not np.isfinite(levels).all() or levels[louder] < SILENT_RMS:
        return samples, []
    if levels[1 - louder] < QUIETER * levels[louder]:
        return samples[louder : louder + 1], [
            f"Only the {name} channel holds sound; the other one is left out."
        ]
    if _rms(samples.mean(axis=0, dtype=np.float32)) < CANCELLED * levels[louder]:
        return samples[louder : louder + 1], [
            f"The recording's two channels cancel each other when mixed; only the {name} one is used."
        ]
    return samples, []


def _rms(signal: NDArray[np.float32]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))
