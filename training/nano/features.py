"""Step 2: mels, encoder inputs and frame labels of every recording. `python -m training.nano.features`.

Labels (recipe.md 4): a stacked frame t takes the symbol that sounds at 20 t + 17.5 ms. Stress marks give
their time to the next phone; short spaces are shared by their neighbours, pauses and punctuation are class 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Container
from functools import partial
from pathlib import Path

import numpy as np
import torch

from training.nano.acoustics import encoder_input, log_mel, to_16k
from training.nano.config import PHONES, STRESS_MARKS
from training.nano.phonemes import alphabet_of
from training.nano.shard import Row, load_shards, make_missing
from training.nano.workspace import Workspace

UNIT_SECONDS = 0.025
PITCH_RATE_HZ = 80
UNVOICED_BELOW_HZ = 50.0
# Words run into each other over shorter spaces than this; their sound belongs to the phones on both sides.
FLOWING_SPACE_UNITS = 2


def phone_track(symbols: list[str], durations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Phone class of every 25 ms unit, and the phone sequence without silence."""
    units = durations.tolist()
    track: list[int] = []
    sequence: list[int] = []
    pending = 0
    for symbol, duration in zip(symbols, units, strict=True):
        if symbol in STRESS_MARKS and symbol:
            pending += duration
            continue
        if symbol == " " and duration <= FLOWING_SPACE_UNITS and track:
            track += [track[-1]] * (duration // 2)
            pending += duration - duration // 2
            continue
        phone = PHONES.find(symbol) + 1 if symbol else 0
        track += [phone] * (duration + pending)
        pending = 0
        if phone:
            sequence.append(phone)
    track += [0] * pending
    return np.array(track, np.uint8), np.array(sequence, np.uint8)


def frame_times(frames: int) -> np.ndarray:
    """Seconds at the middle of every stacked encoder frame."""
    return np.arange(frames) * 0.02 + 0.0175


def prosody(f0_hz: np.ndarray, energy: np.ndarray, frames: int) -> np.ndarray:
    """(frames, 3) float32: 4 (log F0 - utterance median), (energy - utterance mean) / 3, voiced flag."""
    at = np.minimum((frame_times(frames) * PITCH_RATE_HZ).astype(np.int64), len(f0_hz) - 1)
    pitch = f0_hz.astype(np.float32)[at]
    loudness = energy.astype(np.float32)[at]
    voiced = pitch > UNVOICED_BELOW_HZ
    log_pitch = np.log(np.maximum(pitch, UNVOICED_BELOW_HZ))
    median = np.median(log_pitch[voiced]) if voiced.any() else 0.0
    relative = np.where(voiced, 4 * (log_pitch - median), 0.0)
    return np.stack([relative, (loudness - loudness.mean()) / 3, voiced], axis=1).astype(np.float32)


def feature_row(row: Row, alphabet: dict[int, str]) -> Row:
    """Everything the trainers read about one recording."""
    wave = torch.from_numpy(row["wave"].astype(np.float32) / 32767)
    stacked = encoder_input(to_16k(wave))
    symbols = [alphabet.get(int(symbol), "") for symbol in row["symbols"]]
    track, sequence = phone_track(symbols, row["durations"])
    at = np.minimum((frame_times(len(stacked)) / UNIT_SECONDS).astype(np.int64), len(track) - 1)
    return {
        "text": row["text"],
        "speaker": row["speaker"],
        "mel": log_mel(wave[None])[0].T.numpy().astype(np.float16),
        "input": stacked.numpy().astype(np.float16),
        "phone": track[at],
        "sequence": sequence,
        "prosody": prosody(row["f0_hz"], row["energy"], len(stacked)).astype(np.float16),
    }


def load_features(folder: Path, only: Container[str] | None = None) -> list[Row]:
    """What this step has left in `folder`: all arrays, or those named in `only`. Raises FileNotFoundError."""
    rows = load_shards(folder, only)
    if not rows:
        raise FileNotFoundError(f"no features in {folder}; run `python -m training.nano.features` first")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    workspace = Workspace(parser.parse_args().root)
    torch.set_num_threads(1)
    alphabet = alphabet_of(workspace.kokoro)
    for split in ("train", "held_out"):
        make_missing(
            workspace.audio(split), workspace.features(split), partial(feature_row, alphabet=alphabet)
        )


if __name__ == "__main__":
    main()
