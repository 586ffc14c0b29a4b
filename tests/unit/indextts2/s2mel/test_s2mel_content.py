"""What codes become before the regulator, where a code depends on its neighbours: jobs bring codes piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.indextts2.codec.decoder import CodeDecoder, load_code_decoder
from deployments.indextts2.dims import CodecDims
from deployments.indextts2.s2mel.content import BLOCK_CODES, DecodedContent, SegmentContent
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.s2mel.networks import S2MelNetworks
from deployments.indextts2.sampling import Params
from deployments.voices.profile import VoiceProfile

CLOSE = 1e-5


@pytest.fixture(scope="module")
def source(networks: S2MelNetworks) -> DecodedContent:
    dims = CodecDims(50, networks.dims.regulator.in_channels, 4, 8, 10, 2)
    generator = torch.Generator().manual_seed(5)
    with torch.device("meta"):
        shapes = CodeDecoder(dims).state_dict()
    tensors = {name: torch.randn(value.shape, generator=generator) * 0.4 for name, value in shapes.items()}
    return DecodedContent(load_code_decoder(tensors, dims, source="codec"), networks)


def job(codes: np.ndarray, first: int) -> S2MelJob:
    fields: dict[str, Any] = {
        "request_id": "r",
        "segment": "s",
        "voice": None,
        "first_code": first,
        "codes": codes[first:],
        "latents": np.zeros((len(codes) - first, 0), np.float32),
        "committed_frames": 0,
        "committed": None,
        "seed": 0,
        "stream": 0,
        "params": Params(),
    }
    return S2MelJob(**fields)


def codes_of(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 50, count)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_codes_in_any_pieces_are_as_one_pass_and_have_the_same_bits_as_at_once(
    source: DecodedContent, networks: S2MelNetworks, pieces: list[int]
) -> None:
    ends = np.cumsum(pieces)
    codes = codes_of(int(ends[-1]))
    known: SegmentContent | None = None
    for begin, end in zip((0, *ends), ends, strict=False):
        before, known = known, source.extended(known, job(codes[:end], int(begin)))
        features = source.of_codes(torch.from_numpy(codes[:end]), torch.zeros(int(end), 0))
        one_pass = networks.length_regulator.project(features)
        assert known.projected.shape == one_pass.shape
        torch.testing.assert_close(known.projected, one_pass, atol=CLOSE, rtol=0)
        assert torch.equal(known.projected, source.extended(None, job(codes[:end], 0)).projected)
        assert torch.equal(known.projected, source.extended(before, job(codes[:end], int(begin))).projected)
    assert known is not None
    assert known.codes.tolist() == codes.tolist()


def test_a_job_that_is_repeated_takes_only_what_was_there_before_it(source: DecodedContent) -> None:
    """Though more is known by now, and what is known of the last codes was made with those behind them."""
    codes = codes_of(3 * BLOCK_CODES)
    later = source.extended(None, job(codes, 0))
    for first, end in ((20, 50), (70, 75), (2 * BLOCK_CODES, 2 * BLOCK_CODES + 1)):
        again = source.extended(later, job(codes[:end], first))
        assert torch.equal(again.projected, source.extended(None, job(codes[:end], 0)).projected)


def test_what_is_final_is_not_made_again(source: DecodedContent, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = codes_of(5 * BLOCK_CODES)
    known = source.extended(None, job(codes[: 4 * BLOCK_CODES], 0))
    made = []
    decode = source._decoder.decode_block
    monkeypatch.setattr(
        source._decoder, "decode_block", lambda *block: made.append(block[1]) or decode(*block)
    )
    source.extended(known, job(codes, 4 * BLOCK_CODES))
    assert made == [3 * BLOCK_CODES, 4 * BLOCK_CODES]


def test_a_voice_is_taken_as_it_is(source: DecodedContent) -> None:
    features = np.random.default_rng(0).normal(size=(7, 10)).astype(np.float32)
    assert source.of_voice(VoiceProfile({"features": features})).numpy().tolist() == features.tolist()
    assert source.latent_width == 0
    assert source.known_codes == 50
