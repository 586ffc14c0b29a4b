from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engine.noise import normals, uniforms

SEEDS = st.integers(-(2**70), 2**70)
STREAMS = st.one_of(st.integers(), st.text(max_size=8))
UNIFORMS = [0.5702850717334288, 0.7651640195442909, 0.5683254870315736]
NORMALS = [[3212761794, 3208957846], [1043930772, 1059473325], [3197564231, 3206926883]]  # bits of float32


@given(seed=SEEDS, stream=STREAMS, start=st.integers(0, 300), count=st.integers(0, 60))
def test_window_of_uniforms_is_the_slice(seed: int, stream: int | str, start: int, count: int) -> None:
    whole = uniforms(seed, stream, 0, start + count)
    window = uniforms(seed, stream, start, count)
    assert window.dtype == np.float64
    assert np.array_equal(window, whole[start:])


@given(
    seed=SEEDS,
    stream=STREAMS,
    start=st.integers(0, 200),
    frames=st.integers(0, 50),
    channels=st.integers(1, 9),
)
def test_window_of_normals_is_the_slice(
    seed: int, stream: int | str, start: int, frames: int, channels: int
) -> None:
    whole = normals(seed, stream, 0, start + frames, channels)
    window = normals(seed, stream, start, frames, channels)
    assert window.shape == (channels, frames)
    assert window.dtype == np.float32
    assert np.array_equal(window, whole[:, start:])


def test_values_are_fixed_for_ever() -> None:
    """A change here changes the audio of every seed; the bits must be the same on every machine."""
    assert uniforms(7, "gpt.sampling", 5, 3).tolist() == UNIFORMS
    assert normals(7, "s2mel", 3, 2, 3).view(np.uint32).tolist() == NORMALS


def test_far_positions() -> None:
    far = 2**40
    assert np.array_equal(uniforms(1, 2, far, 9)[3:], uniforms(1, 2, far + 3, 6))
    with pytest.raises(ValueError, match="start at 0"):
        uniforms(1, 2, -1, 3)


def test_uniforms_look_uniform() -> None:
    values = np.sort(uniforms(3, "u", 0, 200_000))
    assert values[0] > 0.0
    assert values[-1] < 1.0
    # Kolmogorov-Smirnov: 1.95/sqrt(n) is exceeded once in a thousand seeds; this seed is fixed.
    assert np.abs(values - (np.arange(len(values)) + 0.5) / len(values)).max() < 1.95 / len(values) ** 0.5


def test_normals_look_normal() -> None:
    noise = normals(3, "n", 0, 5000, 80).astype(np.float64)
    assert abs(noise.mean()) < 5 / noise.size**0.5
    assert abs(noise.std() - 1) < 5 / (2 * noise.size) ** 0.5
    assert abs((noise**3).mean()) < 5 * (15 / noise.size) ** 0.5
    assert abs((noise**4).mean() - 3) < 5 * (96 / noise.size) ** 0.5
    for beyond, share in ((1.0, 0.317310508), (2.0, 0.045500264), (4.0, 6.334e-5)):
        found = (np.abs(noise) > beyond).mean()
        assert abs(found - share) < 5 * (share / noise.size) ** 0.5
    between_channels = np.corrcoef(noise)[np.triu_indices(80, 1)]
    assert np.abs(between_channels).max() < 6 / 5000**0.5
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 5 / noise.size**0.5


def test_quantiles_against_torch() -> None:
    torch = pytest.importorskip("torch")
    from deployments.engine.noise import _normal_quantile

    p = np.concatenate([np.linspace(2**-33, 1 - 2**-33, 20001), 2.0 ** -np.linspace(1, 33, 2001)])
    expected = torch.special.ndtri(torch.from_numpy(p)).numpy()
    assert np.abs(_normal_quantile(p) - expected).max() < 1e-13


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, "x"), (2, "x")),
        ((1, "x"), (1, "y")),
        ((1, 1), (1, "1")),
        ((1, 23), (12, 3)),
        ((0, 0), (2**64, 0)),
    ],
)
def test_seeds_and_streams_are_independent(a: tuple[int, int | str], b: tuple[int, int | str]) -> None:
    x, y = uniforms(*a, 0, 20_000), uniforms(*b, 0, 20_000)
    assert not np.isin(x, y).any()
    assert abs(np.corrcoef(x, y)[0, 1]) < 5 / len(x) ** 0.5
    x, y = normals(*a, 0, 2_000, 10), normals(*b, 0, 2_000, 10)
    assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 5 / x.size**0.5


def test_fast_enough_for_every_step() -> None:
    normals(1, "x", 0, 2000, 80)
    best = min(_seconds() for _ in range(10))
    assert best < 0.020


def _seconds() -> float:
    start = time.perf_counter()
    normals(1, "x", 0, 2000, 80)
    return time.perf_counter() - start
