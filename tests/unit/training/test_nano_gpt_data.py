"""What the GPT reads while training: some codes by chance, some stretches stuck, most as they are."""

from __future__ import annotations

import numpy as np

from training.nano.gpt_data import STALL_CODES, Sentence, misread, read_codes


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


def test_what_is_read_is_any_of_the_readings_and_what_is_asked_stays() -> None:
    said, heard = np.full(400, 1, np.int16), np.full(400, 2, np.int16)
    sentence = Sentence("", "", [1], said, (heard,), np.zeros(400, np.uint8))
    generator = np.random.default_rng(0)
    most = {int(np.median(read_codes(sentence, generator))) for _ in range(20)}
    assert most == {1, 2}
    assert set(sentence.codes) == {1}
