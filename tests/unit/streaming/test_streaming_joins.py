from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.speech import Samples
from deployments.streaming.joins import fade, silence, trim

RATE_HZ = 24_000


def spoken(lead: int, loud: int, tail: int) -> Samples:
    tone = 0.5 * np.cos(np.arange(loud) * 0.3)
    return np.concatenate([np.zeros(lead), tone, np.zeros(tail)]).astype(np.float32)


@given(lead=st.integers(0, 5000), loud=st.integers(500, 3000), tail=st.integers(0, 5000))
def test_no_sound_is_cut_off_and_no_more_silence_left_than_wanted(lead: int, loud: int, tail: int) -> None:
    out = trim(spoken(lead, loud, tail), RATE_HZ, keep_lead_s=0.03, keep_tail_s=0.05)
    frame = 120  # a boundary may be off by one frame of 5 ms
    assert loud + min(lead, 720) + min(tail, 1200) <= len(out) + 2
    assert len(out) <= loud + min(lead, 720 + frame) + min(tail, 1200 + frame)


@given(lead=st.integers(0, 500), loud=st.integers(1, 3000), tail=st.integers(0, 500))
def test_without_silence_to_keep_all_sound_is_still_there(lead: int, loud: int, tail: int) -> None:
    samples = spoken(lead, loud, tail)
    samples[samples != 0] = 0.5
    out = trim(samples, RATE_HZ, keep_lead_s=0, keep_tail_s=0)
    assert np.count_nonzero(out) >= loud - 2  # the fades bring the very first and last sample to zero


@pytest.mark.parametrize("count", [0, 1, 5, 119, 120, 121, 5000])
def test_the_edges_make_no_click(count: int) -> None:
    out = trim(np.full(count, 0.8, dtype=np.float32), RATE_HZ, keep_lead_s=0.03, keep_tail_s=0.05)
    assert len(out) == count
    if count > 1:
        assert out[0] == out[-1] == 0


def test_silence_alone_becomes_short() -> None:
    out = trim(np.zeros(RATE_HZ, dtype=np.float32), RATE_HZ, keep_lead_s=0.03, keep_tail_s=0.05)
    assert len(out) == round(0.08 * RATE_HZ)
    assert not out.any()


def test_the_input_is_left_as_it_is() -> None:
    samples = np.ones(1000, dtype=np.float32)
    trim(samples, RATE_HZ, keep_lead_s=0, keep_tail_s=0)
    fade(samples, RATE_HZ)
    assert np.array_equal(samples, np.ones(1000, dtype=np.float32))


@given(st.floats(-1, 2))
def test_silence_has_the_length_asked_for(duration_s: float) -> None:
    assert len(silence(duration_s, RATE_HZ)) == max(0, round(duration_s * RATE_HZ))
