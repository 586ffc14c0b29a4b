"""The tiny checkpoint of IndexTTS-2.5: complete, always the same, and each stage takes what the one before it makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from gpu_fixture import Gpu
from tiny_indextts25 import make_tiny_checkpoint

from deployments.indextts2.checkpoint import GRAPH_FILES, IndexTTSCheckpoint
from deployments.indextts2.speaker.encoder import VoiceEncoder, load_emotion_matrix
from deployments.indextts2.text.loading import load_frontend
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio
from deployments.weights.manifest import file_sha256


@pytest.fixture(scope="module")
def tiny(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> IndexTTSCheckpoint:
    return IndexTTSCheckpoint(make_tiny_checkpoint(tmp_path_factory.mktemp("tiny25"), golden))


@pytest.fixture(scope="module")
def recordings(golden_front: Path) -> list[ReferenceAudio]:
    read = [soundfile.read(path, dtype="float32") for path in sorted(golden_front.glob("ref_*.wav"))]
    return [ReferenceAudio.from_samples(samples.T, rate) for samples, rate in read]


@pytest.fixture(scope="module")
def voices(tiny: IndexTTSCheckpoint, recordings: list[ReferenceAudio]) -> list[VoiceProfile]:
    return VoiceEncoder.load(tiny).encode(recordings)


def test_no_file_is_missing(tiny: IndexTTSCheckpoint) -> None:
    assert tiny.missing(*GRAPH_FILES) == []


def test_same_bytes_each_time(tiny: IndexTTSCheckpoint, golden: Path, tmp_path: Path) -> None:
    make_tiny_checkpoint(tmp_path, golden)
    for path in tiny.directory.rglob("*.*"):
        other = tmp_path / path.relative_to(tiny.directory)
        assert path.is_dir() or file_sha256(path) == file_sha256(other)


def test_a_voice_is_what_the_later_stages_take(tiny: IndexTTSCheckpoint, voices: list[VoiceProfile]) -> None:
    dims = tiny.gpt_dims
    for voice in voices:
        assert voice["speaker_latents"].shape == (1, dims.model_dim)
        assert voice["features"].shape[1] == tiny.codec_dims.hidden_size
        assert voice["style"].shape == (tiny.style_width,)
        assert "codes" not in voice
        assert all(np.isfinite(voice[name]).all() for name in ("speaker_latents", "features", "mel"))


def test_the_speaker_row_is_a_projection_of_the_style(
    tiny: IndexTTSCheckpoint, voices: list[VoiceProfile]
) -> None:
    weight, bias = (tiny.tensor("gpt", f"spk_emb_proj.{name}").numpy() for name in ("weight", "bias"))
    for voice in voices:
        np.testing.assert_allclose(voice["speaker_latents"][0], weight @ voice["style"] + bias, atol=1e-4)


def test_a_voice_does_not_depend_on_the_batch(
    tiny: IndexTTSCheckpoint, recordings: list[ReferenceAudio], voices: list[VoiceProfile]
) -> None:
    encoder = VoiceEncoder.load(tiny)
    for recording, together in zip(recordings, voices, strict=True):
        (alone,) = encoder.encode([recording])
        for name, array in alone.arrays.items():
            np.testing.assert_allclose(together[name], array, atol=1e-4)


@pytest.mark.slow
@pytest.mark.gpu
def test_a_voice_on_a_gpu(
    tiny: IndexTTSCheckpoint, recordings: list[ReferenceAudio], voices: list[VoiceProfile], gpu: Gpu
) -> None:
    for made, known in zip(
        VoiceEncoder.load(tiny, device=gpu.device).encode(recordings), voices, strict=True
    ):
        assert made.arrays.keys() == known.arrays.keys()
        for name in made.arrays:
            gpu.assert_close(made[name], known[name])


def test_emotions_of_its_own_matrices(tiny: IndexTTSCheckpoint, voices: list[VoiceProfile]) -> None:
    matrix = load_emotion_matrix(tiny)
    voice = voices[0]
    weights = [0.5, *[0.0] * 7]
    mixed = matrix.mix(weights, matrix.nearest_rows(voice["style"]), voice["reference_emotion"])
    assert mixed.shape == (tiny.gpt_dims.model_dim,)
    assert not np.allclose(mixed, voice["reference_emotion"])


def test_its_texts_fit_its_tables(tiny: IndexTTSCheckpoint) -> None:
    frontend = load_frontend(tiny)
    text = "Hello, world! " * 40
    for segments in (
        frontend.published(text, 120, language="en"),
        [*frontend.iter_segments(text, 120, language="en")],
    ):
        assert len(segments) > 1
        for segment in segments:
            assert 0 < len(segment.ids) <= tiny.gpt_dims.max_text_tokens + 1
            assert max(segment.ids) < tiny.gpt_dims.number_text_tokens
            assert segment.language_id == 0
