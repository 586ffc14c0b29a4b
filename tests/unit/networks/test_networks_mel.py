"""Mel filters against their definition, and the frames of a log-mel."""

from __future__ import annotations

import math

import pytest
import torch

from deployments.networks.mel import LogMel, MelDims, mel_bank

DIMS = MelDims(22_050, n_fft=1024, window=1024, hop=256, bands=80, low_hz=0.0, high_hz=11_025.0)


def mel_of_hz(hz: float) -> float:
    """Slaney's scale: linear below 1 kHz, logarithmic above."""
    return hz * 3 / 200 if hz < 1000 else 15 + math.log(hz / 1000) / (math.log(6.4) / 27)


def hz_of_mel(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


@pytest.mark.parametrize(("low_hz", "high_hz"), [(0.0, 11_025.0), (0.0, 8000.0), (55.0, 7600.0)])
def test_filters_are_triangles_of_equal_area(low_hz: float, high_hz: float) -> None:
    bank = mel_bank(80, 1024, 22_050, low_hz, high_hz)
    assert bank.shape == (80, 513)
    assert bank.dtype == torch.float32
    low, high = mel_of_hz(low_hz), mel_of_hz(high_hz)
    edges = [hz_of_mel(low + (high - low) * i / 81) for i in range(82)]
    for band in (0, 7, 40, 79):
        left, peak, right = edges[band : band + 3]
        for bin_ in range(513):
            hz = bin_ * 22_050 / 1024
            side = min((hz - left) / (peak - left), (right - hz) / (right - peak))
            assert bank[band, bin_].item() == pytest.approx(max(0.0, side) * 2 / (right - left), abs=2e-7)


def test_frames_are_counted_in_hops() -> None:
    log_mel = LogMel(DIMS)
    for samples in (512, 767, 768, 5000):
        assert log_mel(torch.randn(2, samples) * 0.1).shape == (2, 80, samples // 256)
    with pytest.raises(ValueError, match="385 are needed"):
        log_mel(torch.zeros(1, 384))


def test_silence_lies_on_the_floor() -> None:
    mel = LogMel(DIMS)(torch.zeros(1, 1024))
    torch.testing.assert_close(mel, torch.full_like(mel, math.log(1e-5)))
