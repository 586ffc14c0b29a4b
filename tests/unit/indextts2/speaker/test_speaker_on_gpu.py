"""The speaker encoder and the emotion classifier on a GPU: what they make on a CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_fixture import Gpu
from tiny_indextts import make_tiny_checkpoint
from tiny_qwen import teach, write_qwen

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.emotion_classifier import EmotionClassifier
from deployments.indextts2.speaker.encoder import VoiceEncoder
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def checkpoint(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> IndexTTSCheckpoint:
    return IndexTTSCheckpoint(make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), golden))


@pytest.fixture(scope="module")
def recordings() -> list[ReferenceAudio]:
    return [ReferenceAudio.from_samples(np.sin(np.arange(n) / 20) * 0.1, 22_050) for n in (11_025, 15_000)]


@pytest.fixture(scope="module")
def known(checkpoint: IndexTTSCheckpoint, recordings: list[ReferenceAudio]) -> list[VoiceProfile]:
    return VoiceEncoder.load(checkpoint).encode(recordings)


@pytest.mark.slow
def test_voices_of_a_batch(
    checkpoint: IndexTTSCheckpoint, recordings: list[ReferenceAudio], known: list[VoiceProfile], gpu: Gpu
) -> None:
    encoder = VoiceEncoder.load(checkpoint, device=gpu.device)
    for voice, expected in zip(encoder.encode(recordings), known, strict=True):
        np.testing.assert_array_equal(voice["codes"], expected["codes"])
        for name in voice.arrays.keys() - {"codes"}:
            gpu.assert_close(voice[name], expected[name])
    for vector, expected in zip(encoder.encode_emotion(recordings), known, strict=True):
        gpu.assert_close(vector, expected["reference_emotion"])


def test_a_text_is_read(tmp_path: Path, gpu: Gpu) -> None:
    folder = write_qwen(tmp_path)
    teach(folder, ["b", "a", "system"])
    for dtype in (torch.float32, torch.float16):
        assert EmotionClassifier(folder, device=gpu.device, dtype=dtype).answer("a b") == "a system"
