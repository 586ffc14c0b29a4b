from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.core.speech import Samples
from serve_app.audio.resample import ATEMPO_RANGE, Resampler, TimeStretch, _parts

EMPTY: Samples = np.zeros(0, dtype=np.float32)
RATES = st.sampled_from(
    [(16_000, 24_000), (22_050, 24_000), (24_000, 48_000), (48_000, 8000), (24_000, 24_000)]
)
CUTS = st.lists(st.integers(0, 6000), max_size=12)


def sound(count: int = 6000) -> Samples:
    return np.random.default_rng(1).uniform(-0.5, 0.5, count).astype(np.float32)


def in_pieces(stage: Resampler | TimeStretch, samples: Samples, cuts: list[int]) -> Samples:
    out = [stage.write(piece) for piece in np.split(samples, sorted(cuts))]
    return np.concatenate([*out, stage.write(EMPTY, last=True)])


@settings(max_examples=60, deadline=None)
@given(rates=RATES, cuts=CUTS)
def test_resampling_does_not_depend_on_the_pieces(rates: tuple[int, int], cuts: list[int]) -> None:
    samples = sound()
    whole = in_pieces(Resampler(*rates), samples, [])
    assert np.array_equal(in_pieces(Resampler(*rates), samples, cuts), whole)
    assert len(whole) == pytest.approx(len(samples) * rates[1] / rates[0], abs=1)
    assert whole.dtype == np.float32


@settings(max_examples=30, deadline=None)
@given(factor=st.sampled_from([0.25, 0.4, 0.9, 1.0, 1.3, 2.0, 3.9, 4.0]), cuts=CUTS)
def test_a_stretch_does_not_depend_on_the_pieces(factor: float, cuts: list[int]) -> None:
    samples = sound()
    whole = in_pieces(TimeStretch(factor, 24_000), samples, [])
    assert np.array_equal(in_pieces(TimeStretch(factor, 24_000), samples, cuts), whole)


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 3.0, 4.0])
def test_a_stretch_keeps_the_pitch_and_changes_the_length(factor: float) -> None:
    time_s = np.arange(48_000) / 24_000
    tone = (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    out = in_pieces(TimeStretch(factor, 24_000), tone, [])
    assert len(out) / 24_000 == pytest.approx(2 / factor, rel=0.05)
    peak_hz = np.argmax(np.abs(np.fft.rfft(out))) * 24_000 / len(out)
    assert peak_hz == pytest.approx(440, rel=0.01)


def test_equal_rates_and_a_factor_of_one_change_nothing() -> None:
    samples = sound()
    assert np.array_equal(in_pieces(Resampler(24_000, 24_000), samples, [100]), samples)
    assert np.array_equal(in_pieces(TimeStretch(1.0, 24_000), samples, [100]), samples)


def test_nothing_in_nothing_out() -> None:
    assert len(in_pieces(Resampler(16_000, 24_000), EMPTY, [])) == 0
    assert len(in_pieces(TimeStretch(1.5, 24_000), EMPTY, [])) == 0


@given(st.floats(0.0625, 16))
def test_the_parts_of_a_tempo_are_gentle_and_multiply_to_it(factor: float) -> None:
    parts = _parts(factor)
    assert np.prod(parts) == pytest.approx(factor)
    assert all(ATEMPO_RANGE[0] <= part <= ATEMPO_RANGE[1] for part in parts)
