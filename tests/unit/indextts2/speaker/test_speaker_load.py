"""Strict loading of the speaker encoder's networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deployments.core.errors import CheckpointError
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.codec.encoder import SemanticCodec, load_semantic_codec
from deployments.indextts2.dims import CodecDims
from deployments.indextts2.speaker.features import load_semantic_features

DIMS = CodecDims(
    codebook_size=10,
    hidden_size=8,
    codebook_dim=4,
    vocos_dim=6,
    vocos_intermediate_dim=7,
    vocos_num_layers=2,
)


def codec_tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn(value.shape) for name, value in SemanticCodec(DIMS).state_dict().items()}


def test_decoder_half_is_ignored_and_nothing_else() -> None:
    tensors = codec_tensors()
    load_semantic_codec(tensors | {"decoder.0.norm.bias": torch.zeros(6)}, DIMS, source="codec")
    with pytest.raises(CheckpointError, match=r"not part of the model: down\.weight"):
        load_semantic_codec(tensors | {"down.weight": torch.zeros(1)}, DIMS, source="codec")
    tensors.pop("encoder.1.bias")
    with pytest.raises(CheckpointError, match=r"missing: encoder\.1\.bias"):
        load_semantic_codec(tensors, DIMS, source="codec")


def test_code_is_the_nearest_direction() -> None:
    codec = load_semantic_codec(codec_tensors(), DIMS, source="codec")
    features = torch.randn(2, 5, DIMS.hidden_size)
    codes, embeddings = codec.quantize(features)
    z = codec.book.in_project(codec.encoder(features.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
    cosine = torch.nn.functional.cosine_similarity(
        z[:, :, None], codec.book.codebook.weight[None, None], dim=-1
    )
    assert torch.equal(codes, cosine.argmax(-1))
    assert torch.equal(codec.vq2emb(codes).transpose(1, 2), embeddings)


def test_layer_beyond_the_model_is_an_error(golden_front: Path) -> None:
    checkpoint = IndexTTSCheckpoint(golden_front / "ckpt")
    folder, statistics = checkpoint.path("w2v_bert"), checkpoint.tensors("w2v_stat")
    with pytest.raises(CheckpointError, match="after layer 99"):
        load_semantic_features(folder, statistics, layer=99)
    with pytest.raises(CheckpointError, match="lack var"):
        load_semantic_features(folder, {"mean": statistics["mean"]}, layer=1)


def test_layers_above_the_tap_are_not_loaded(golden_front: Path) -> None:
    checkpoint = IndexTTSCheckpoint(golden_front / "ckpt")
    cut = load_semantic_features(checkpoint.path("w2v_bert"), checkpoint.tensors("w2v_stat"), layer=2)
    assert not any(".layers.2." in name for name in cut.state_dict())
