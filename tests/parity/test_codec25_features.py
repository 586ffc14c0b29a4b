"""The codec whose codes last two steps against the golden data (indextts2.5-delta.md 5)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from golden_close import close
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.codec.decoder import CodeDecoder, load_code_decoder
from deployments.indextts2.codec.encoder import SemanticCodec, load_semantic_codec
from deployments.indextts2.dims import CodecDims, dims_from
from deployments.weights.tensors import read_tensors, subset

LIMIT = 2e-5


@pytest.fixture(scope="module")
def golden_tensors(golden_25: Path) -> dict[str, Tensor]:
    return load_file(golden_25 / "codec.safetensors")


@pytest.fixture(scope="module")
def stored(golden_25: Path) -> tuple[dict[str, Tensor], CodecDims]:
    config = yaml.safe_load((golden_25 / "checkpoint/config.yaml").read_text())
    tensors = subset(read_tensors(golden_25 / "checkpoint/codec.pth"), "model")
    return tensors, dims_from(CodecDims, config["semantic_codec"], "semantic_codec")


@pytest.fixture(scope="module")
def decoder(stored: tuple[dict[str, Tensor], CodecDims]) -> CodeDecoder:
    return load_code_decoder(*stored, source="codec")


@pytest.fixture(scope="module")
def codec(stored: tuple[dict[str, Tensor], CodecDims]) -> SemanticCodec:
    return load_semantic_codec(*stored, source="codec", steps_per_code=2)


def test_embedding(decoder: CodeDecoder, golden_tensors: dict[str, Tensor]) -> None:
    close(decoder.embedding(golden_tensors["decode.in.codes"]).mT, golden_tensors["decode.vq_emb"], LIMIT)


@pytest.mark.parametrize("case", ["decode", "decode_batch"])
def test_decode(decoder: CodeDecoder, golden_tensors: dict[str, Tensor], case: str) -> None:
    close(decoder.decode(golden_tensors[f"{case}.in.codes"]), golden_tensors[f"{case}.out"], LIMIT)


def test_decode_in_blocks(decoder: CodeDecoder, golden_tensors: dict[str, Tensor]) -> None:
    codes, expected = golden_tensors["decode.in.codes"][0].numpy(), golden_tensors["decode.out"][0]
    for size in (1, 7, 64):
        blocks = [decoder.decode_block(codes, first, size) for first in range(0, len(codes), size)]
        close(torch.cat(blocks)[: len(expected)], expected, LIMIT)


@pytest.mark.parametrize("length", ["even", "odd"])
def test_quantize(codec: SemanticCodec, golden_tensors: dict[str, Tensor], length: str) -> None:
    codes, embeddings = codec.quantize(golden_tensors[f"quantize.in.features_{length}"])
    assert codes.dtype == torch.int64
    assert torch.equal(codes, golden_tensors[f"quantize.codes_{length}"])
    close(embeddings, golden_tensors[f"quantize.emb_{length}"], LIMIT)


def test_features_of_whole_utterances(golden_25: Path, decoder: CodeDecoder) -> None:
    """Every eighth channel of the first segment of each."""
    features = load_file(golden_25 / "end_to_end.safetensors")
    for case in json.loads((golden_25 / "end_to_end.json").read_text()):
        codes = np.array(case["per_segment"][0]["codes_cut"])
        expected = features[f"{case['name']}.0.S_infer"]
        close(decoder.decode(torch.from_numpy(codes)[None])[..., ::8], expected, LIMIT)
