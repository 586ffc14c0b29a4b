"""Routes of reference audio, without golden data."""

from __future__ import annotations

import numpy as np
import pytest

from deployments.core.errors import CheckpointError, InvalidRequest
from deployments.indextts2.speaker.job import MAX_REFERENCE_S, reference_warnings
from deployments.indextts2.speaker.reference import (
    FEATURE_RATE_HZ,
    MEL_RATE_HZ,
    MIN_FEATURE_SAMPLES,
    emotion_route,
    mel_dims,
    speaker_route,
)


def noise(seconds: float, rate: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_first_15_seconds_are_kept(rate: int) -> None:
    audio = noise(MAX_REFERENCE_S + 1, rate)
    route = speaker_route(audio, rate)
    assert route.mel_rate.shape == (1, MAX_REFERENCE_S * MEL_RATE_HZ)
    assert route.feature_rate.shape == (1, MAX_REFERENCE_S * FEATURE_RATE_HZ)
    assert emotion_route(audio, rate).shape == (1, MAX_REFERENCE_S * FEATURE_RATE_HZ)


def test_whoever_sent_a_long_recording_is_warned() -> None:
    assert reference_warnings(15.0) == ()
    assert reference_warnings(28.04) == ("Only the first 15 s of the 28.0 s recording are used.",)


def test_audio_at_its_own_rate_is_untouched() -> None:
    audio = noise(1, FEATURE_RATE_HZ)
    assert np.array_equal(emotion_route(audio, FEATURE_RATE_HZ)[0].numpy(), audio)


def test_stereo_is_averaged() -> None:
    left = noise(1, FEATURE_RATE_HZ)
    mixed = emotion_route(np.stack((left, -left)), FEATURE_RATE_HZ)
    assert not mixed.any()


def test_length_is_rounded_up() -> None:
    audio = noise(1, 44_100)[:40_001]
    assert emotion_route(audio, 44_100).shape[1] == -(-40_001 * 16_000 // 44_100)


def test_too_short_audio_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"lasts 0\.06 s") as emotion:
        emotion_route(np.zeros(MIN_FEATURE_SAMPLES - 1, np.float32), FEATURE_RATE_HZ)
    with pytest.raises(InvalidRequest, match=r"lasts 0\.00 s") as voice:
        speaker_route(np.zeros(0, np.float32), 24_000)
    assert (emotion.value.param, voice.value.param) == ("emotion", "voice")
    assert emotion_route(np.zeros(MIN_FEATURE_SAMPLES, np.float32), FEATURE_RATE_HZ).shape == (1, 1040)


def test_the_rule_of_the_highest_frequency() -> None:
    spect = {"n_fft": 1024, "win_length": 1024, "hop_length": 256, "n_mels": 80, "fmin": 0}

    def highest_hz(**more: object) -> float:
        return mel_dims({"s2mel": {"preprocess_params": {"sr": 22050, "spect_params": spect | more}}}).high_hz

    assert (highest_hz(), highest_hz(fmax="None"), highest_hz(fmax=9000)) == (11025.0, 11025.0, 8000.0)
    del spect["hop_length"]
    with pytest.raises(CheckpointError, match="hop_length"):
        highest_hz()
