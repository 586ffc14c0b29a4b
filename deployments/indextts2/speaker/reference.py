"""The two routes from a decoded recording to network input (indextts2-front.md 3.1).

They differ on purpose: the speaker route passes through 22.05 kHz, the emotion route does not, and the model
was trained and published that way. One file therefore gives different features as speaker and as emotion
reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
import torch
from torch import Tensor
from torchaudio.transforms import Resample

from deployments.core.errors import CheckpointError, InvalidRequest
from deployments.indextts2.speaker.job import MAX_REFERENCE_S
from deployments.networks.mel import MelDims

MEL_RATE_HZ = 22_050
FEATURE_RATE_HZ = 16_000
# w2v-BERT features must reach the three frames of the conformer's window.
MIN_FEATURE_SAMPLES = 400 + 160 * 4
# The transform, not `torchaudio.functional.resample`: that one makes its filters in float32 and gives other bits.
_to_feature_rate = Resample(MEL_RATE_HZ, FEATURE_RATE_HZ)


@dataclass(frozen=True)
class SpeakerAudio:
    """`mel_rate` (1,N) at 22.05 kHz for the mel prompt, `feature_rate` (1,N') at 16 kHz for all features."""

    mel_rate: Tensor
    feature_rate: Tensor


def speaker_route(samples: npt.NDArray[np.float32], sample_rate_hz: int) -> SpeakerAudio:
    """Decoded mono (n,) or stereo (2,n) float audio to the speaker reference, at most its first 15 s.

    Raises InvalidRequest if it is too short to be encoded.
    """
    mel_rate = _load(samples, sample_rate_hz, MEL_RATE_HZ, param="voice")
    return SpeakerAudio(mel_rate, _to_feature_rate(mel_rate))


def emotion_route(samples: npt.NDArray[np.float32], sample_rate_hz: int, *, param: str = "emotion") -> Tensor:
    """Decoded mono (n,) or stereo (2,n) float audio to (1,N) at 16 kHz, at most its first 15 s.

    Raises InvalidRequest about the field `param` of the request if it is too short to be encoded.
    """
    return _load(samples, sample_rate_hz, FEATURE_RATE_HZ, param=param)


def mel_dims(config: Mapping[str, Any]) -> MelDims:
    """Of the mel prompt, from the whole `config.yaml`. CheckpointError if `s2mel.preprocess_params` is not complete."""
    try:
        params = config["s2mel"]["preprocess_params"]
        spect = params["spect_params"]
        return MelDims(
            sample_rate_hz=params["sr"],
            n_fft=spect["n_fft"],
            window=spect["win_length"],
            hop=spect["hop_length"],
            bands=spect["n_mels"],
            low_hz=spect["fmin"],
            # The model's own rule: the string "None" is half the rate, any other value is 8 kHz.
            high_hz=params["sr"] / 2 if spect.get("fmax", "None") == "None" else 8000.0,
        )
    except KeyError as error:
        raise CheckpointError(f"config.yaml: {error} is missing for the mel of s2mel") from None


def _load(samples: npt.NDArray[np.float32], sample_rate_hz: int, target_hz: int, *, param: str) -> Tensor:
    """Mono average, soxr HQ, the length that librosa gives (rounded up), cut to 15 s: (1,N)."""
    mono = np.asarray(samples, np.float32)
    if mono.ndim == 2:
        mono = mono.mean(axis=0)
    duration_s = len(mono) / sample_rate_hz
    if duration_s * FEATURE_RATE_HZ < MIN_FEATURE_SAMPLES:
        raise InvalidRequest(
            f"the reference audio lasts {duration_s:.2f} s; use 3 to {MAX_REFERENCE_S} s of speech",
            param=param,
        )
    length = len(mono)
    if sample_rate_hz != target_hz:
        length = math.ceil(length * target_hz / sample_rate_hz)
        mono = soxr.resample(mono, sample_rate_hz, target_hz, quality="HQ")
    fitted = np.zeros(min(length, MAX_REFERENCE_S * target_hz), np.float32)
    fitted[: len(mono)] = mono[: len(fitted)]
    return torch.from_numpy(fitted)[None]
