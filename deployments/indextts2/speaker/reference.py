"""The two routes from a decoded recording to network input (indextts2-front.md 3.1).

They differ on purpose: the speaker route passes through 22.05 kHz, the emotion route does not, and the model
was trained and published that way. One file therefore gives different features as speaker and as emotion
reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr
import torch
from torch import Tensor

from deployments.core.errors import InvalidRequest
from deployments.networks.resample import resample

MEL_RATE_HZ = 22_050
FEATURE_RATE_HZ = 16_000
MAX_REFERENCE_S = 15  # what the model was trained on; the rest of a recording is not heard
# w2v-BERT features must reach the three frames of the conformer's window.
MIN_FEATURE_SAMPLES = 400 + 160 * 4


@dataclass(frozen=True)
class SpeakerAudio:
    """`mel_rate` (1,N) at 22.05 kHz for the mel prompt, `feature_rate` (1,N') at 16 kHz for all features."""

    mel_rate: Tensor
    feature_rate: Tensor


def speaker_route(samples: npt.NDArray[np.float32], sample_rate_hz: int) -> SpeakerAudio:
    """Decoded mono (n,) or stereo (2,n) float audio to the speaker reference, at most its first 15 s.

    Raises InvalidRequest if it is too short to be encoded.
    """
    mel_rate = _load(samples, sample_rate_hz, MEL_RATE_HZ)
    feature_rate = resample(mel_rate, MEL_RATE_HZ, FEATURE_RATE_HZ)
    return SpeakerAudio(mel_rate, feature_rate)


def emotion_route(samples: npt.NDArray[np.float32], sample_rate_hz: int) -> Tensor:
    """Decoded mono (n,) or stereo (2,n) float audio to (1,N) at 16 kHz, at most its first 15 s.

    Raises InvalidRequest if it is too short to be encoded.
    """
    return _load(samples, sample_rate_hz, FEATURE_RATE_HZ)


def cut_warning(duration_s: float) -> str | None:
    """What to tell the client about a recording longer than the model listens to; None if it is not."""
    if duration_s <= MAX_REFERENCE_S:
        return None
    return f"Only the first {MAX_REFERENCE_S} s of the {duration_s:.1f} s recording are used."


def _load(samples: npt.NDArray[np.float32], sample_rate_hz: int, target_hz: int) -> Tensor:
    """Mono average, soxr HQ, the length that librosa gives (rounded up), cut to 15 s: (1,N)."""
    mono = np.asarray(samples, np.float32)
    if mono.ndim == 2:
        mono = mono.mean(axis=0)
    duration_s = len(mono) / sample_rate_hz
    if duration_s * FEATURE_RATE_HZ < MIN_FEATURE_SAMPLES:
        raise InvalidRequest(
            f"the reference audio lasts {duration_s:.2f} s; use 3 to {MAX_REFERENCE_S} s of speech",
            param="voice",
        )
    length = len(mono)
    if sample_rate_hz != target_hz:
        length = math.ceil(length * target_hz / sample_rate_hz)
        mono = soxr.resample(mono, sample_rate_hz, target_hz, quality="HQ")
    fitted = np.zeros(min(length, MAX_REFERENCE_S * target_hz), np.float32)
    fitted[: len(mono)] = mono[: len(fitted)]
    return torch.from_numpy(fitted)[None]
