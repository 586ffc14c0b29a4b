"""Decoding codes: names of the file, ragged batches, and blocks that equal one pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from codec_toy import DIMS, codec_shapes, codec_tensors
from gpu_fixture import Gpu
from hypothesis import given, settings
from hypothesis import strategies as st
from pretended_gpu import PretendedGpu

from deployments.core.errors import CheckpointError
from deployments.indextts2.codec.decoder import CodeDecoder, load_code_decoder
from deployments.indextts2.dims import CodecDims, dims_from

SPECS = Path(__file__).parents[3] / "specs"
CLOSE = 1e-5


def official_dims() -> CodecDims:
    config = yaml.safe_load((SPECS / "indextts2-config.yaml").read_text())  # the same for both codecs
    return dims_from(CodecDims, config["semantic_codec"], "semantic_codec")


def codes_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, DIMS.codebook_size, count)


def one_pass(decoder: CodeDecoder, codes: np.ndarray) -> torch.Tensor:
    return decoder.decode(torch.from_numpy(codes)[None])[0]


def test_names_and_shapes_of_the_official_file() -> None:
    listed = json.loads((SPECS / "indextts2.5-codec-keys.json").read_text())
    ours = {name: list(shape) for name, shape in codec_shapes(official_dims()).items()}
    assert ours == {name: entry["shape"] for name, entry in listed.items()}


def test_what_a_code_depends_on_at_full_size() -> None:
    with torch.device("meta"):
        assert CodeDecoder(official_dims()).reach == 39 + 1


def test_encoder_half_is_ignored_and_nothing_else() -> None:
    tensors = codec_tensors()
    load_code_decoder(tensors | {"encoder.7.bias": torch.zeros(1)}, DIMS, source="codec.pth")
    with pytest.raises(CheckpointError, match=r"codec.pth: 1 tensors not part of the model: step"):
        load_code_decoder(tensors | {"step": torch.zeros(1)}, DIMS, source="codec.pth")
    tensors.pop("up.bias")
    with pytest.raises(CheckpointError, match=r"missing: up\.bias"):
        load_code_decoder(tensors, DIMS, source="codec.pth")


def test_code_outside_the_codebook_is_refused(decoder: CodeDecoder) -> None:
    for code in (-1, DIMS.codebook_size):
        with pytest.raises(ValueError, match=r"0\.\.49"):
            decoder.decode(torch.tensor([[1, code]]))


def test_rows_of_a_batch_do_not_touch(decoder: CodeDecoder) -> None:
    lengths = [9, 30, 1, 12]
    rows = [codes_of(n, n) for n in lengths]
    codes = np.stack([np.pad(row, (0, 30 - len(row)), constant_values=7) for row in rows])
    mask = torch.tensor([[float(i < n) for i in range(30)] for n in lengths])
    for row, out in zip(rows, decoder.decode(torch.from_numpy(codes), mask), strict=True):
        torch.testing.assert_close(out[: 2 * len(row)], one_pass(decoder, row), atol=CLOSE, rtol=0)


@given(st.integers(1, 60), st.integers(1, 70), st.data())
@settings(max_examples=40, deadline=None)
def test_blocks_anywhere_equal_one_pass(
    decoder: CodeDecoder, count: int, size: int, data: st.DataObject
) -> None:
    codes = codes_of(count, count)
    first = data.draw(st.integers(0, count - 1))
    expected = one_pass(decoder, codes)[2 * first : 2 * (first + size)]
    block = decoder.decode_block(codes, first, size)
    assert block.shape == (2 * size, DIMS.hidden_size)
    torch.testing.assert_close(block[: len(expected)], expected, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("size", [3, 16])
def test_a_block_has_the_same_bits_once_all_that_it_depends_on_is_there(
    decoder: CodeDecoder, size: int
) -> None:
    codes = codes_of(80)
    for first in (0, size, 2 * size):
        enough = first + size + decoder.reach
        expected = decoder.decode_block(codes, first, size)
        for count in range(enough, 80, 7):
            assert torch.equal(decoder.decode_block(codes[:count], first, size), expected)
        before = decoder.decode_block(codes[: enough - 1], first, size)
        assert not torch.equal(before, expected), "the reach is not larger than it need be"


def test_reach_is_that_of_the_convolutions(decoder: CodeDecoder) -> None:
    codes = codes_of(61)
    changed = codes.copy()
    changed[30] += 1 if codes[30] == 0 else -1
    differs = (one_pass(decoder, codes) != one_pass(decoder, changed)).any(dim=-1).nonzero().flatten() // 2
    assert differs.min() == 30 - decoder.reach
    assert differs.max() == 30 + decoder.reach


@pytest.mark.gpu
def test_decode_on_gpu(gpu: Gpu) -> None:
    codes = codes_of(70)
    known = load_code_decoder(codec_tensors(), DIMS, source="codec.pth")
    there = load_code_decoder(codec_tensors(), DIMS, source="codec.pth", device=gpu.device)
    found = there.decode_block(codes, 16, 32)
    gpu.assert_close(found.cpu().numpy(), known.decode_block(codes, 16, 32).numpy())


def test_it_waits_for_nothing(pretended_gpu: PretendedGpu) -> None:
    there = load_code_decoder(codec_tensors(), DIMS, source="codec.pth", device="cuda")
    pretended_gpu.reset()
    there.decode_block(codes_of(30), 16, 32)
    assert not pretended_gpu.waits
