"""The whole speaker encoder against the golden data: recordings in, arrays out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.encoder import EncodedVoice, SpeakerEncoder, load_emotion_matrix
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
def encoder(checkpoint: IndexTTSCheckpoint) -> SpeakerEncoder:
    return SpeakerEncoder.load(checkpoint)


@pytest.fixture(scope="module")
def references(golden_front: Path) -> list[ReferenceAudio]:
    found = []
    for name in ("ref_spk_24k_mono.wav", "ref_emo_44k_stereo.wav"):
        samples, rate = soundfile.read(golden_front / name, dtype="float32")
        found.append(ReferenceAudio.from_samples(samples.T, rate))
    return found


def close(actual: np.ndarray, expected: Tensor, limit: float) -> None:
    assert actual.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(actual), expected, atol=limit, rtol=0)


def test_voice(golden_front: Path, encoder: SpeakerEncoder, references: list[ReferenceAudio]) -> None:
    conditioning = load_file(golden_front / "conditioning.safetensors")
    (voice,) = encoder.encode(references[:1])
    # The features before them may differ by 1e-4 themselves.
    close(voice.speaker_latents, conditioning["spk.latents"][0], 1e-4)
    close(voice.speaker_emotion, conditioning["spk.emovec"][0], 1e-4)
    close(voice.reference_emotion, conditioning["spk_as_emo.emovec"][0], 1e-4)
    codes = load_file(golden_front / "codec.safetensors")["quantize.codes"][0]
    assert torch.equal(torch.from_numpy(voice.codes), codes)
    samples = load_file(golden_front / "features.safetensors")["spk.audio_22050"].shape[1]
    assert voice.mel.shape == (80, samples // 256)
    assert voice.style.shape == (192,)
    assert np.isfinite(voice.mel).all()
    assert np.isfinite(voice.style).all()


def test_emotion_reference(
    golden_front: Path, encoder: SpeakerEncoder, references: list[ReferenceAudio]
) -> None:
    conditioning = load_file(golden_front / "conditioning.safetensors")
    as_emotion, emotion = encoder.encode_emotion(references)
    close(as_emotion, conditioning["spk_as_emo.emovec"][0], 1e-4)
    close(emotion, conditioning["emo.emovec"][0], 1e-4)


def test_batch_equals_single(encoder: SpeakerEncoder, references: list[ReferenceAudio]) -> None:
    together = encoder.encode(references)
    for reference, voice in zip(references, together, strict=True):
        (alone,) = encoder.encode([reference])
        for name, array in voice.arrays().items():
            expected = alone.arrays()[name]
            assert array.dtype == expected.dtype
            np.testing.assert_allclose(array, expected, atol=5e-5, rtol=0, err_msg=name)
        assert np.array_equal(voice.codes, alone.codes)


def test_arrays_round_trip(encoder: SpeakerEncoder, references: list[ReferenceAudio]) -> None:
    (voice,) = encoder.encode(references[:1])
    again = EncodedVoice.from_arrays(voice.arrays())
    assert all(array is again.arrays()[name] for name, array in voice.arrays().items())


def test_half_precision_stays_near(checkpoint: IndexTTSCheckpoint, references: list[ReferenceAudio]) -> None:
    half = SpeakerEncoder.load(checkpoint, dtype=torch.bfloat16)
    assert half.features.mean.dtype == torch.float32
    full, rounded = (model.encode(references[:1])[0] for model in (SpeakerEncoder.load(checkpoint), half))
    assert rounded.speaker_latents.dtype == np.float32
    assert np.array_equal(full.codes, rounded.codes)
    scale = np.abs(full.speaker_latents).max()
    assert np.abs(full.speaker_latents - rounded.speaker_latents).max() < 0.2 * scale


def test_emotion_matrix(checkpoint: IndexTTSCheckpoint) -> None:
    matrix = load_emotion_matrix(checkpoint)
    assert matrix.keys.shape == (sum(checkpoint.emotion_rows), 192)
    assert matrix.values.shape == (sum(checkpoint.emotion_rows), checkpoint.gpt_dims.model_dim)
