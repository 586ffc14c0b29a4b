"""What the GPT reads while training: some codes by chance, some stretches stuck, most as they are."""

from __future__ import annotations

import numpy as np

from training.nano.gpt_data import STALL_CODES, misread


def test_misread_codes_stall_and_recover() -> None:
    codes = np.arange(20_000) % 1000
    read = misread(codes, np.random.default_rng(0))
    assert 0.1 < (read != codes).mean() < 0.25
    assert np.array_equal(codes, np.arange(20_000) % 1000)
    stuck = np.flatnonzero((read[1:] == read[:-1]) & (read[1:] != codes[1:]))
    assert len(stuck) > 500
    runs = np.split(stuck, np.flatnonzero(np.diff(stuck) > 1) + 1)
    assert max(map(len, runs)) < 3 * STALL_CODES[1]
    assert 0 <= read.min() <= read.max() < 1024
