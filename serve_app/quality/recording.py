"""Recordings and answers as samples for measuring."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from serve_app.quality import EvalError

MEASURE_RATE_HZ = 16_000
Wave = NDArray[np.float32]
SILENCE_RMS = 1e-3  # -60 dBFS: nothing a listener would call speech


def read_recording(path: Path) -> Wave:
    """(n,) mono at 16 kHz within ±1. EvalError for a file that is no audio."""
    try:
        return decode(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EvalError(f"cannot read the recording {path}: {error}") from error


def decode(body: bytes) -> Wave:
    """(n,) mono at 16 kHz of a file in any usual format. ValueError where nothing can be decoded."""
    to_mono = av.AudioResampler(format="flt", layout="mono")
    pieces: list[Wave] = [np.zeros(0, np.float32)]
    rate_hz = MEASURE_RATE_HZ
    try:
        with av.open(io.BytesIO(body)) as container:
            for frame in container.decode(audio=0):
                rate_hz = frame.sample_rate
                pieces += [piece.to_ndarray()[0] for piece in to_mono.resample(frame)]
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"no audio that can be decoded: {error}") from error
    return at_measure_rate(np.concatenate(pieces).astype(np.float32), rate_hz)


def decode_pcm(body: bytes, rate_hz: int) -> Wave:
    """(n,) mono at 16 kHz of signed 16-bit little-endian samples."""
    samples = np.frombuffer(body[: len(body) // 2 * 2], dtype="<i2").astype(np.float32) / np.float32(32768)
    return at_measure_rate(samples, rate_hz)


def at_measure_rate(samples: Wave, rate_hz: int) -> Wave:
    if rate_hz != MEASURE_RATE_HZ:
        samples = soxr.resample(samples, rate_hz, MEASURE_RATE_HZ, "HQ").astype(np.float32)
    # DNSMOS refuses samples beyond ±1, which resampling loud speech produces.
    return np.clip(samples, -1, 1).astype(np.float32)


def rms(wave: Wave) -> float:
    return float(np.sqrt(np.mean(wave.astype(np.float64) ** 2))) if len(wave) else 0.0


def is_audible(wave: Wave) -> bool:
    return rms(wave) > SILENCE_RMS
