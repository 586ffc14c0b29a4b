"""Frame counts, and the length regulator: index arithmetic and independence of the rows of a batch."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from deployments.indextts2.s2mel.job import mel_frames
from deployments.indextts2.s2mel.length_regulator import nearest_index
from deployments.indextts2.s2mel.networks import S2MelNetworks


def test_mel_frames_are_those_of_the_model_in_float32() -> None:
    assert all(mel_frames(n, Fraction(43, 25)) == int(np.float32(n) * np.float32(1.72)) for n in range(1816))
    assert mel_frames(3, Fraction(86, 25)) == 10
    assert [mel_frames(3, Fraction(86, 25), factor) for factor in (0.5, 2.0)] == [5, 20]


@pytest.mark.parametrize("frames_per_code", [Fraction(43, 25), Fraction(86, 25)])
def test_mel_frames_without_a_factor_are_exact(frames_per_code: Fraction) -> None:
    assert all(mel_frames(n, frames_per_code) == int(n * frames_per_code) for n in range(4000))


def test_nearest_index_is_in_range_and_never_goes_back() -> None:
    for n_in, n_out in ((1, 1), (1, 9), (7, 3), (26, 44), (500, 860), (749, 1291)):
        index = nearest_index(n_in, n_out)
        assert index.shape == (n_out,)
        assert index[0] == 0
        assert index.max() < n_in
        assert (index.diff() >= 0).all()
    assert nearest_index(5, 5).tolist() == list(range(5))
    assert nearest_index(3, 6).tolist() == [0, 0, 1, 1, 2, 2]


def test_rows_of_a_batch_do_not_touch(networks: S2MelNetworks) -> None:
    regulate = networks.length_regulator
    rows = [torch.randn(n, 10) for n in (9, 30, 1, 12)]
    frames = [15, 51, 1, 40]
    together = regulate(rows, frames)
    for row, count, out in zip(rows, frames, together, strict=True):
        [alone] = regulate([row], [count])
        assert out.shape == (count, 12)
        torch.testing.assert_close(out, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("features", "frames"), [(0, 4), (4, 0)])
def test_empty_rows_are_refused(networks: S2MelNetworks, features: int, frames: int) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        networks.length_regulator([torch.zeros(features, 10)], [frames])
