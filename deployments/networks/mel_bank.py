"""Slaney's mel filters, of the mels that s2mel makes and vocoders read (indextts2-back.md 1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Under the root of the magnitudes, and under the logarithm of the bands.
MAGNITUDE_EPSILON = 1e-9
MEL_FLOOR = 1e-5
# Slaney's mel scale: linear below 1 kHz, logarithmic above.
LINEAR_HZ_PER_MEL = 200 / 3
LOG_START_HZ = 1000.0
LOG_START_MEL = LOG_START_HZ / LINEAR_HZ_PER_MEL
LOG_STEP = np.log(6.4) / 27


def mel_bank(
    bands: int, n_fft: int, sample_rate_hz: int, low_hz: float, high_hz: float
) -> npt.NDArray[np.float32]:
    """Triangles of equal area, (bands, n_fft / 2 + 1)."""
    low, high = _mel_of_hz(np.array([low_hz, high_hz]))
    edges = _hz_of_mel(np.linspace(low, high, bands + 2))
    bins = np.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1)
    widths = np.diff(edges)[:, None]
    rising = (bins - edges[:-2, None]) / widths[:-1]
    falling = (edges[2:, None] - bins) / widths[1:]
    area = 2 / (edges[2:] - edges[:-2])[:, None]
    return (np.maximum(0, np.minimum(rising, falling)) * area).astype(np.float32)


def _mel_of_hz(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = LOG_START_MEL + np.log(np.maximum(hz, LOG_START_HZ) / LOG_START_HZ) / LOG_STEP
    return np.where(hz < LOG_START_HZ, hz / LINEAR_HZ_PER_MEL, above)


def _hz_of_mel(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = LOG_START_HZ * np.exp(LOG_STEP * (mel - LOG_START_MEL))
    return np.where(mel < LOG_START_MEL, mel * LINEAR_HZ_PER_MEL, above)
