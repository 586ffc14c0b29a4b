"""What the writer of codes reads: as many places as there are codes, each with its symbol and phone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.nano.acoustics import encoder_input, to_16k
from training.nano.config import PHONES
from training.nano.tracks import code_count, track_of

ALPHABET = {1: "t", 2: "A", 3: "ˈ", 4: " "}


@pytest.mark.parametrize("units", [8, 41, 90, 133])
def test_a_score_has_as_many_codes_as_its_recording(units: int) -> None:
    wave = torch.randn(round(units * 0.025 * 22_050), generator=torch.Generator().manual_seed(units))
    assert code_count(np.array([units - 3, 3], np.uint8)) == len(encoder_input(to_16k(wave)))


def test_every_code_knows_its_symbol_and_place() -> None:
    symbols = np.array([0, 1, 3, 2, 0], np.uint8)
    durations = np.array([4, 4, 2, 6, 4], np.uint8)  # 0.5 s
    row = {
        "symbols": symbols,
        "durations": durations,
        "f0_hz": np.full(40, 200.0, np.float16),
        "energy": np.ones(40, np.float16),
    }
    track = track_of(row, ALPHABET)
    t, a = (PHONES.index(symbol) + 1 for symbol in "tA")
    assert len(track) == code_count(durations) == len(track.phone) == len(track.shape)
    changes = track.phone[np.flatnonzero(np.diff(track.phone, prepend=99))].tolist()
    assert changes == [0, t, a, 0]  # the stress mark gave its time to the vowel
    vowel = track.phone == a
    assert np.all(np.diff(track.shape[vowel, 0]) > 0)
    assert track.shape[vowel, 1] == pytest.approx(0.02 * vowel.sum())


def test_a_recording_says_how_many_codes_there_are() -> None:
    row = {
        "symbols": np.array([0, 1, 0], np.uint8),
        "durations": np.array([4, 4, 4], np.uint8),
        "f0_hz": np.zeros(24, np.float16),
        "energy": np.zeros(24, np.float16),
    }
    assert len(track_of(row, ALPHABET, 15)) == 15
