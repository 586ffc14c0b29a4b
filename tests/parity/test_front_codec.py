"""Semantic codec against the golden data (indextts2-front.md 4)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_close import close
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.codec.encoder import SemanticCodec, load_semantic_codec

LIMIT = 1e-5


@pytest.fixture(scope="module")
def golden_tensors(golden_front: Path) -> dict[str, Tensor]:
    return load_file(golden_front / "codec.safetensors")


@pytest.fixture(scope="module")
def codec(golden_front: Path) -> SemanticCodec:
    checkpoint = IndexTTSCheckpoint(golden_front / "ckpt")
    return load_semantic_codec(checkpoint.tensors("semantic_codec"), checkpoint.codec_dims, source="codec")


@torch.inference_mode()
def test_encoder_and_distances(codec: SemanticCodec, golden_tensors: dict[str, Tensor]) -> None:
    features = golden_tensors["in.features"].transpose(1, 2)
    close(codec.encoder[0].embed(features), golden_tensors["enc.embed_conv"], LIMIT)
    encoded = codec.encoder(features)
    close(encoded, golden_tensors["enc.out"], LIMIT)
    z = codec.book.in_project(encoded.transpose(1, 2))
    close(z, golden_tensors["fvq.z_e"], LIMIT)
    close(-codec.book.distances(z)[0, 0], golden_tensors["fvq.neg_dist_frame0"], LIMIT)


def test_quantize(golden_front: Path, codec: SemanticCodec, golden_tensors: dict[str, Tensor]) -> None:
    emotion = load_file(golden_front / "features.safetensors")["emo.cond_emb"]
    for features, prefix in ((golden_tensors["in.features"], ""), (emotion, "emo.")):
        codes, embeddings = codec.quantize(features)
        assert codes.dtype == torch.int64
        assert torch.equal(codes, golden_tensors[f"{prefix}quantize.codes"])
        close(embeddings, golden_tensors[f"{prefix}quantize.emb"], LIMIT)


def test_vq2emb(codec: SemanticCodec, golden_tensors: dict[str, Tensor]) -> None:
    close(codec.vq2emb(golden_tensors["quantize.codes"]), golden_tensors["vq2emb.of_codes"], LIMIT)
    close(codec.vq2emb(golden_tensors["rand.codes"]), golden_tensors["rand.vq2emb"], LIMIT)
