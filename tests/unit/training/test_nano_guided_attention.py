"""The band in which codes are told to look."""

from __future__ import annotations

import numpy as np
import torch

from training.nano.gpt_data import PREFIX_ROWS, Sentence
from training.nano.guided_attention import PackedCausal, bands


def sentence(pieces: int, codes: int) -> Sentence:
    return Sentence("", "", [1] * pieces, np.zeros(codes, np.int16), (), np.zeros(codes, np.uint8))


def test_first_code_looks_at_the_first_piece_and_last_at_the_last() -> None:
    pieces, codes = 40, 100
    width = PREFIX_ROWS + pieces + 2 + codes + 1
    (band,) = bands([sentence(pieces, codes)], width, "cpu")
    first = PREFIX_ROWS + pieces + 2
    assert band[first, PREFIX_ROWS]
    assert not band[first, first - 1]
    assert band[first + codes, first - 1]
    assert not band[first + codes, PREFIX_ROWS]
    assert not band[:first].any()
    assert not band[:, first:].any()


def test_attention_is_that_of_the_plain_one_and_the_loss_falls_where_it_looks_right() -> None:
    torch.manual_seed(0)
    pieces, codes = 20, 30
    width = PREFIX_ROWS + pieces + 2 + codes + 1
    guide = bands([sentence(pieces, codes)] * 2, width, "cpu")
    qkv = torch.randn(2 * width, 3 * 8)
    guided, plain = PackedCausal(2, 2, guide), PackedCausal(2, 2)
    assert torch.equal(guided(2, qkv), plain(2, qkv))
    guided(0, qkv)
    assert len(guided.astray) == 1
    assert plain.astray == []
    everywhere = PackedCausal(2, 2, guide.any(-1, keepdim=True).expand_as(guide))
    everywhere(2, qkv)
    assert everywhere.astray[0] < guided.astray[0]
