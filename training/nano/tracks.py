"""What is said in every code's time, read from a score: symbol, phone, place in the phone, pitch and loudness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.nano.config import CODE_SECONDS
from training.nano.features import UNIT_SECONDS, frame_times, phone_track, prosody
from training.nano.shard import Row

SYMBOLS = 256
_UNIT_SAMPLES_16K = 400


@dataclass(frozen=True)
class Track:
    """Arrays over n codes; `shape` (n, 5): share of the phone that is over, its length in s, and `features.prosody`."""

    symbol: np.ndarray
    phone: np.ndarray
    shape: np.ndarray

    def __len__(self) -> int:
        return len(self.symbol)


def code_count(durations: np.ndarray) -> int:
    """Codes of a recording that lasts so many units of 25 ms: fbank frames of 25 ms every 10 ms, two to a code."""
    frames = 1 + (int(durations.astype(np.int64).sum()) * _UNIT_SAMPLES_16K - 400) // 160
    return (frames + 1) // 2


def track_of(row: Row, alphabet: dict[int, str], codes: int | None = None) -> Track:
    """`row` holds the fields of a `Score`; `codes` is given where the recording says how many there are."""
    count = code_count(row["durations"]) if codes is None else codes
    phones, _ = phone_track([alphabet.get(int(symbol), "") for symbol in row["symbols"]], row["durations"])
    at = np.minimum((frame_times(count) / UNIT_SECONDS).astype(np.int64), len(phones) - 1)
    phone = phones[at]
    shape = np.concatenate([_places(phone), prosody(row["f0_hz"], row["energy"], count)], axis=1)
    symbol = np.repeat(row["symbols"], row["durations"])[at]
    return Track(symbol, phone, shape.astype(np.float32))


def _places(phone: np.ndarray) -> np.ndarray:
    """(n, 2): how much of its phone is over at every code, and how long the phone lasts in s."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(phone)) + 1])
    lengths = np.diff(np.append(starts, len(phone)))
    first, length = np.repeat(starts, lengths), np.repeat(lengths, lengths)
    return np.stack([(np.arange(len(phone)) - first + 0.5) / length, length * CODE_SECONDS], axis=1)
