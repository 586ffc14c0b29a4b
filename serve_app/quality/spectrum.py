"""Mel power spectra as the networks of speaker and quality were trained on (Slaney's scale and normalisation)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serve_app.quality.recording import MEASURE_RATE_HZ, Wave

_LINEAR_HZ_PER_MEL = 200 / 3
_LOG_FROM_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27


def mel_power(wave: Wave, *, bands: int, window: int, hop: int) -> NDArray[np.float32]:
    """(frames, bands) at 16 kHz: centred, zero-padded, periodic Hann windows of `window` samples, 1 + n/hop frames."""
    padded = np.pad(wave.astype(np.float64), window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
    return (power @ _filters(bands, window).T).astype(np.float32)


def _filters(bands: int, window: int) -> NDArray[np.float64]:
    """(bands, window // 2 + 1) triangles of equal area, from 0 to 8 kHz."""
    corners_hz = _to_hz(np.linspace(0, _to_mel(MEASURE_RATE_HZ / 2), bands + 2))
    bins_hz = np.fft.rfftfreq(window, 1 / MEASURE_RATE_HZ)
    low, centre, high = corners_hz[:-2, None], corners_hz[1:-1, None], corners_hz[2:, None]
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    triangles: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return triangles


def _to_mel(hz: float) -> float:
    return float(_LOG_FROM_HZ / _LINEAR_HZ_PER_MEL + np.log(hz / _LOG_FROM_HZ) / _LOG_STEP)


def _to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL
    above = _LOG_FROM_HZ * np.exp(_LOG_STEP * (np.maximum(mel, knee) - knee))
    return np.where(mel < knee, mel * _LINEAR_HZ_PER_MEL, above)
