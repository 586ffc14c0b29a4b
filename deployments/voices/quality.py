"""Whether a recording can serve as a reference at all, and what the person who sent it should know."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deployments.core.errors import InvalidRequest

SILENT_RMS = 1e-3  # -60 dBFS
QUIET_RMS = 1e-2  # -40 dBFS
# Decoders of lossy formats overshoot 1.0 a little; integers written as floats are in the thousands.
MAX_PEAK = 4.0
CLIPPED_LEVEL = 0.999
CLIPPED_SHARE = 1e-3
LOW_RATE_HZ = 16_000
SHORT_S = 3.0
ACTIVE_S = 1.0
FRAME_S = 0.02


def check_quality(
    samples: NDArray[np.float32], sample_rate_hz: int, *, heard_s: float, param: str
) -> tuple[str, ...]:
    """Warnings about `samples` (channels, N), of which every model hears the first `heard_s`.

    Raises InvalidRequest where no voice can be heard: numbers that are not finite or out of scale, silence.
    """
    if not np.isfinite(samples).all():
        raise InvalidRequest(
            "The recording holds NaN or infinite samples. Export it again, best as 16-bit wav.", param=param
        )
    peak = float(np.abs(samples).max())
    if peak > MAX_PEAK:
        raise InvalidRequest(
            f"The recording's samples reach {peak:.6g}; floating-point audio must lie within -1 and 1. "
            "Normalise it, or export it as 16-bit wav.",
            param=param,
        )
    mono = samples.mean(axis=0, dtype=np.float32)
    rms = _rms(mono)
    if rms < SILENT_RMS:
        raise InvalidRequest(_why_silent(samples), param=param, code="audio_silent")
    return tuple(_warnings(samples, mono, rms, sample_rate_hz, heard_s))


def _warnings(
    samples: NDArray[np.float32],
    mono: NDArray[np.float32],
    rms: float,
    sample_rate_hz: int,
    heard_s: float,
) -> list[str]:
    warnings = []
    if rms < QUIET_RMS:
        warnings.append(f"The recording is very quiet ({_dbfs(rms):.0f} dBFS); the voice may come out noisy.")
    if float((np.abs(samples) >= CLIPPED_LEVEL).mean()) > CLIPPED_SHARE:
        warnings.append("The recording is clipped (too loud); the voice may come out distorted.")
    if sample_rate_hz < LOW_RATE_HZ:
        warnings.append(f"The recording has only {sample_rate_hz} Hz; the voice may sound like a telephone.")
    duration_s = len(mono) / sample_rate_hz
    heard = mono[: round(heard_s * sample_rate_hz)]
    active_s = _active_s(heard, sample_rate_hz)
    if duration_s < SHORT_S:
        warnings.append(f"The recording lasts only {duration_s:.1f} s; {SHORT_S:g} s or more clone better.")
    elif active_s < ACTIVE_S:
        warnings.append(
            f"Only {active_s:.1f} s of {len(heard) / sample_rate_hz:.1f} s are not silent; the voice may be vague."
        )
    return warnings


def _why_silent(samples: NDArray[np.float32]) -> str:
    if max(_rms(channel) for channel in samples) >= SILENT_RMS:
        return "The recording's two channels cancel each other when mixed to mono. Send one channel only."
    return f"The recording is silent (below {_dbfs(SILENT_RMS):.0f} dBFS). Send one in which a voice speaks."


def _active_s(mono: NDArray[np.float32], sample_rate_hz: int) -> float:
    size = max(1, int(FRAME_S * sample_rate_hz))
    frames = mono[: len(mono) // size * size].reshape(-1, size)
    return float((np.sqrt(np.mean(frames**2, axis=1)) > SILENT_RMS).sum()) * size / sample_rate_hz


def _rms(signal: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


def _dbfs(rms: float) -> float:
    return 20 * float(np.log10(max(rms, 1e-10)))
