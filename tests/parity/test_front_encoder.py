"""The whole speaker encoder against the golden data: recordings in, arrays out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from golden_close import close
from safetensors.torch import load_file

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.encoder import VoiceEncoder, load_emotion_matrix
from deployments.voices.reference import ReferenceAudio


@pytest.fixture(scope="module")
def checkpoint(
    golden_front: Path, golden_back: Path, tmp_path_factory: pytest.TempPathFactory
) -> IndexTTSCheckpoint:
    """The front half's directory with the style network of the back half beside it."""
    directory = tmp_path_factory.mktemp("ckpt")
    for path in (*(golden_front / "ckpt").iterdir(), golden_back / "campplus_cn_common.bin"):
        (directory / path.name).symlink_to(path.resolve())
    return IndexTTSCheckpoint(directory)


@pytest.fixture(scope="module")
def encoder(checkpoint: IndexTTSCheckpoint) -> VoiceEncoder:
    return VoiceEncoder.load(checkpoint)


@pytest.fixture(scope="module")
def references(golden_front: Path) -> list[ReferenceAudio]:
    found = []
    for name in ("ref_spk_24k_mono.wav", "ref_emo_44k_stereo.wav"):
        samples, rate = soundfile.read(golden_front / name, dtype="float32")
        found.append(ReferenceAudio.from_samples(samples.T, rate))
    return found


# The features before them may differ by 1e-4 themselves.
LIMIT = 1e-4


@pytest.mark.slow
def test_voice(golden_front: Path, encoder: VoiceEncoder, references: list[ReferenceAudio]) -> None:
    conditioning = load_file(golden_front / "conditioning.safetensors")
    (profile,) = encoder.encode(references[:1])
    for name, expected in (
        ("speaker_latents", conditioning["spk.latents"]),
        ("speaker_emotion", conditioning["spk.emovec"]),
        ("reference_emotion", conditioning["spk_as_emo.emovec"]),
    ):
        assert profile[name].dtype == np.float32
        close(torch.tensor(profile[name]), expected[0], LIMIT)
    codes = load_file(golden_front / "codec.safetensors")["quantize.codes"][0]
    assert torch.equal(torch.tensor(profile["codes"]), codes)
    samples = load_file(golden_front / "features.safetensors")["spk.audio_22050"].shape[1]
    dims = encoder.log_mel.dims
    assert profile["mel"].shape == (dims.bands, samples // dims.hop)
    assert profile["style"].shape == (encoder.campplus.dims.embedding,)
    assert np.isfinite(profile["mel"]).all()
    assert np.isfinite(profile["style"]).all()


def test_emotion_reference(
    golden_front: Path, encoder: VoiceEncoder, references: list[ReferenceAudio]
) -> None:
    conditioning = load_file(golden_front / "conditioning.safetensors")
    as_emotion, emotion = map(torch.from_numpy, encoder.encode_emotion(references))
    close(as_emotion, conditioning["spk_as_emo.emovec"][0], LIMIT)
    close(emotion, conditioning["emo.emovec"][0], LIMIT)


@pytest.mark.slow
def test_batch_equals_single(encoder: VoiceEncoder, references: list[ReferenceAudio]) -> None:
    together = encoder.encode(references)
    for reference, profile in zip(references, together, strict=True):
        (alone,) = encoder.encode([reference])
        assert profile.arrays.keys() == alone.arrays.keys()
        for name, expected in alone.arrays.items():
            assert profile[name].dtype == expected.dtype
            close(torch.tensor(profile[name]), torch.tensor(expected), 0 if name == "codes" else 5e-5)


@pytest.mark.slow
def test_half_precision_stays_near(checkpoint: IndexTTSCheckpoint, references: list[ReferenceAudio]) -> None:
    half = VoiceEncoder.load(checkpoint, dtype=torch.bfloat16)
    assert half.features.mean.dtype == torch.float32
    full, rounded = (model.encode(references[:1])[0] for model in (VoiceEncoder.load(checkpoint), half))
    assert rounded["speaker_latents"].dtype == np.float32
    assert np.array_equal(full["codes"], rounded["codes"])
    exact, near = full["speaker_latents"], rounded["speaker_latents"]
    assert np.abs(exact - near).max() < 0.2 * np.abs(exact).max()


def test_emotion_matrix(checkpoint: IndexTTSCheckpoint) -> None:
    matrix = load_emotion_matrix(checkpoint)
    assert matrix.keys.shape == (sum(checkpoint.emotion_rows), checkpoint.style_width)
    assert matrix.values.shape == (sum(checkpoint.emotion_rows), checkpoint.gpt_dims.model_dim)
