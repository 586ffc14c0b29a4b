"""Joining separately synthesised segments: silence trimmed to a known length, edges without clicks."""

from __future__ import annotations

import numpy as np

from deployments.core.speech import Samples

FADE_S = 0.005
FRAME_S = 0.005
SILENCE_DB = -50.0  # below the loudest frame


def trim(samples: Samples, sample_rate_hz: int, *, keep_lead_s: float, keep_tail_s: float) -> Samples:
    """`samples` with at most `keep_*` seconds of silence left at either end, faded in and out over 5 ms."""
    frame = max(1, round(FRAME_S * sample_rate_hz))
    if len(samples) == 0:
        return samples
    level = np.pad(np.abs(samples), (0, -len(samples) % frame)).reshape(-1, frame).max(axis=1)
    loud = np.flatnonzero(level > level.max() * 10 ** (SILENCE_DB / 20))
    if level.max() == 0 or len(loud) == 0:
        return samples[: round((keep_lead_s + keep_tail_s) * sample_rate_hz)]
    start = max(0, int(loud[0]) * frame - round(keep_lead_s * sample_rate_hz))
    end = min(len(samples), (int(loud[-1]) + 1) * frame + round(keep_tail_s * sample_rate_hz))
    return fade(samples[start:end], sample_rate_hz)


def fade(samples: Samples, sample_rate_hz: int) -> Samples:
    """A copy whose first and last 5 ms rise from and fall to zero."""
    out = samples.copy()
    n = min(round(FADE_S * sample_rate_hz), len(out) // 2)
    if n:
        ramp = np.linspace(0.0, 1.0, n, dtype=np.float32)
        out[:n] *= ramp
        out[-n:] *= ramp[::-1]
    return out


def silence(duration_s: float, sample_rate_hz: int) -> Samples:
    return np.zeros(max(0, round(duration_s * sample_rate_hz)), dtype=np.float32)
