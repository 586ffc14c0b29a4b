"""IndexTTS-2.5: what the speaker stage makes of features and style against the golden data (indextts2.5-delta.md 3)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_close import close
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.conditioner import Conditioner, load_conditioner
from deployments.indextts2.speaker.emotion import merge
from deployments.indextts2.speaker.encoder import load_emotion_matrix

LIMIT = 1e-5


@pytest.fixture(scope="module")
def checkpoint(golden_25: Path) -> IndexTTSCheckpoint:
    return IndexTTSCheckpoint(golden_25 / "checkpoint")


@pytest.fixture(scope="module")
def given(golden_25: Path) -> dict[str, Tensor]:
    return load_file(golden_25 / "conditioning.safetensors")


@pytest.fixture(scope="module")
def conditioner(checkpoint: IndexTTSCheckpoint) -> Conditioner:
    return load_conditioner(checkpoint.tensors("gpt"), checkpoint.conditioner_dims, source="gpt.pth")


def lengths(features: Tensor) -> Tensor:
    return torch.tensor([features.shape[1]])


def test_emotion_encoder(conditioner: Conditioner, given: dict[str, Tensor]) -> None:
    features = given["in.emo_cond_emb"]
    hidden, mask = conditioner.emo_conditioning_encoder(features, lengths(features))
    assert mask.all()  # the whole reference counts, whatever its length
    close(hidden, given["emo_encoder_out"], LIMIT)
    close(conditioner.emo_perceiver_encoder(hidden, mask)[:, 0], given["emo_perceiver_out"], LIMIT)


def test_emotion_vectors(conditioner: Conditioner, given: dict[str, Tensor]) -> None:
    for name in ("spk", "emo"):
        features = given[f"in.{name}_cond_emb"]
        close(conditioner.emotion(features, lengths(features)), given[f"emovec_from_{name}"], LIMIT)


def test_merged_emotions(given: dict[str, Tensor]) -> None:
    speaker, reference = (given[f"emovec_from_{name}"][0].numpy() for name in ("spk", "emo"))
    for name, expected in given.items():
        if name.startswith("merged_alpha_"):
            mixed = merge(speaker, reference, float(name.removeprefix("merged_alpha_")))
            close(torch.from_numpy(mixed)[None], expected, LIMIT)


def test_emotion_by_vector(checkpoint: IndexTTSCheckpoint, given: dict[str, Tensor]) -> None:
    matrix = load_emotion_matrix(checkpoint)
    rows = matrix.nearest_rows(given["in.style"][0].numpy())
    assert rows == given["emo_vector_index"].tolist()
    weights = given["emo_vector"].tolist()
    close(torch.from_numpy(matrix.vector(weights, rows))[None], given["emo_vector_mat"], LIMIT)
    mixed = matrix.mix(weights, rows, given["emovec_from_spk"][0].numpy())
    assert mixed.dtype == np.float32
    close(torch.from_numpy(mixed)[None], given["emovec_with_vector"], LIMIT)


def test_speaker_row(conditioner: Conditioner, given: dict[str, Tensor]) -> None:
    features, style = given["in.spk_cond_emb"], given["in.style"]
    row = conditioner.speaker_latents(features, lengths(features), style)
    close(row[:, 0], given["spk_emb_proj"], LIMIT)
    close(row[:, 0] + given["merged_alpha_1.0"], given["cond_rows"][:, 0], LIMIT)
    assert not given["cond_rows"][:, 1:].any()
