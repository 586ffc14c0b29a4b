"""Reference routes, log-mel stack and semantic features against the golden data (indextts2-front.md 3)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch
from golden_close import close
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.features import SemanticFeatures, load_semantic_features
from deployments.indextts2.speaker.job import MAX_REFERENCE_S
from deployments.indextts2.speaker.reference import FEATURE_RATE_HZ, emotion_route, speaker_route

TAPS = "hidden_"


@pytest.fixture(scope="module")
def golden_tensors(golden_front: Path) -> dict[str, Tensor]:
    return load_file(golden_front / "features.safetensors")


@pytest.fixture(scope="module")
def audio(golden_front: Path) -> dict[str, Tensor]:
    """16 kHz audio of each route, and the speaker's 22.05 kHz version."""
    speaker, speaker_hz = soundfile.read(golden_front / "ref_spk_24k_mono.wav", dtype="float32")
    emotion, emotion_hz = soundfile.read(golden_front / "ref_emo_44k_stereo.wav", dtype="float32")
    assert emotion.ndim == 2
    route = speaker_route(speaker, speaker_hz)
    return {
        "mel": route.mel_rate,
        "spk": route.feature_rate,
        "emo": emotion_route(emotion.T, emotion_hz),
        "spk_as_emo": emotion_route(speaker, speaker_hz),
    }


@pytest.fixture(scope="module")
def checkpoint(golden_front: Path) -> IndexTTSCheckpoint:
    return IndexTTSCheckpoint(golden_front / "ckpt")


@pytest.fixture(scope="module")
def features(checkpoint: IndexTTSCheckpoint) -> SemanticFeatures:
    return load_semantic_features(
        checkpoint.path("w2v_bert"), checkpoint.tensors("w2v_stat"), layer=checkpoint.semantic_layer
    )


def test_routes(audio: dict[str, Tensor], golden_tensors: dict[str, Tensor]) -> None:
    close(audio["mel"], golden_tensors["spk.audio_22050"], 1e-5)
    for name in ("spk", "emo", "spk_as_emo"):
        close(audio[name], golden_tensors[f"{name}.audio_16k"], 1e-5)


def test_log_mel_stack(
    features: SemanticFeatures, audio: dict[str, Tensor], golden_tensors: dict[str, Tensor]
) -> None:
    for name in ("spk", "emo", "spk_as_emo"):
        stack = features.stack([audio[name]])
        close(stack.frames, golden_tensors[f"{name}.input_features"], 1e-5)
        assert torch.equal(stack.mask, golden_tensors[f"{name}.attention_mask"])
        assert stack.lengths.tolist() == [stack.frames.shape[1]]


@pytest.mark.slow
def test_features(
    features: SemanticFeatures, audio: dict[str, Tensor], golden_tensors: dict[str, Tensor]
) -> None:
    for name in ("spk", "emo", "spk_as_emo"):
        (found,) = features([audio[name]])
        close(found[None], golden_tensors[f"{name}.cond_emb"], 1e-4)


@pytest.mark.parametrize("name", ["spk", "emo"])
def test_every_golden_tap(
    checkpoint: IndexTTSCheckpoint, audio: dict[str, Tensor], golden_tensors: dict[str, Tensor], name: str
) -> None:
    """The model cut after layer n ends in what the whole model gives as hidden state n."""
    for tap, expected in golden_tensors.items():
        layer = int(tap.rpartition("_")[2]) if tap.startswith(f"{name}.{TAPS}") else 0
        if layer == 0:
            continue
        cut = load_semantic_features(checkpoint.path("w2v_bert"), checkpoint.tensors("w2v_stat"), layer=layer)
        (found,) = cut([audio[name]])
        close((found * cut.deviation + cut.mean)[None], expected, 2e-5)


@pytest.mark.slow
def test_padded_batch_equals_single(features: SemanticFeatures, audio: dict[str, Tensor]) -> None:
    names = ("spk", "emo", "spk_as_emo")
    for name, row in zip(names, features([audio[name] for name in names]), strict=True):
        (alone,) = features([audio[name]])
        assert row.shape == alone.shape
        # Compared before the division by a small deviation.
        close(row * features.deviation, alone * features.deviation, 2e-5)


def test_frame_counts(golden_front: Path, features: SemanticFeatures) -> None:
    for case in json.loads((golden_front / "frame_counts.json").read_text()):
        stack = features.stack([torch.zeros(1, case["samples_16k"])])
        assert stack.lengths.tolist() == [case["T"]]
        assert stack.mask[0, -1] == case["mask_last"]
        assert stack.mask.sum() == case["mask_sum"]
        silence = torch.zeros(round(case["seconds"] * 24_000)).numpy()
        assert emotion_route(silence, 24_000).shape[1] == pytest.approx(case["samples_16k"], abs=1)
        assert emotion_route(silence, 24_000).shape[1] <= MAX_REFERENCE_S * FEATURE_RATE_HZ
