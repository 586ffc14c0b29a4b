"""The GPT with packed weights is the same function; its blocks can be compiled."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import Tensor

from deployments.indextts2.dims import GptDims
from deployments.indextts2.gpt.attention import SlotCache
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.networks.packed_linear import PackedLinear


@pytest.fixture(scope="module")
def packed(gpt: SpeechGpt) -> SpeechGpt:
    model = copy.deepcopy(gpt)
    model.pack()
    return model


def test_packing_changes_no_result(gpt: SpeechGpt, packed: SpeechGpt, prefixes: list[Tensor]) -> None:
    for prefix in prefixes:
        plain, fast = (model.extend(model.new_cache(1, 64), [(0, prefix)])[0] for model in (gpt, packed))
        torch.testing.assert_close(fast, plain, atol=2e-5, rtol=0)
        torch.testing.assert_close(packed.logits(fast), gpt.logits(plain), atol=1e-4, rtol=0)


def test_packing_twice_is_packing_once(gpt: SpeechGpt) -> None:
    model = copy.deepcopy(gpt)
    model.pack()
    head = model.mel_head
    model.pack()
    assert isinstance(head, PackedLinear)
    assert model.mel_head is head
    assert (model.device, model.dtype) == (gpt.device, gpt.dtype)


def random_model(width: int) -> SpeechGpt:
    dims = GptDims(width, 2, width // 64, 60, 20, 40, 100, 98, 99, 0, 1, condition_num_latent=4)
    generator = torch.Generator().manual_seed(width)
    model = SpeechGpt(dims).requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


@pytest.mark.parametrize("width", [64, 256, 512, 1280])
def test_a_lone_row_has_the_bits_of_one_in_company(width: int) -> None:
    """Of codes in company with other codes, with pieces, and with beams whose histories lie scattered."""
    model = random_model(width)
    plain = copy.deepcopy(model)
    model.pack()
    prefixes = [torch.randn(length, width) * 0.1 for length in (9, 21, 5)]

    def filled(of: SpeechGpt) -> SlotCache:
        cache = SlotCache(of.dims, 9, 64)
        for slot, prefix in enumerate(prefixes):
            of.extend(cache, [(slot, prefix)])
        of.extend(cache, [(4, prefixes[2])])
        cache.copy(4, [5, 6], len(prefixes[2]))
        of.step(cache, [4, 5, 6], [1, 2, 3], [0, 0, 0])
        cache.reorder([4, 5, 6], [2, 0, 0])
        return cache

    alone = filled(model)
    lone = [model.step(alone, [slot], [7 + slot], [1])[0] for slot in (0, 1, 2, 4, 5, 6)]
    company = filled(model)
    together = model.step(company, [0, 1, 2, 4, 5, 6], [7, 8, 9, 11, 12, 13], [1] * 6)
    assert torch.equal(together, torch.stack(lone))
    mixed = filled(model)
    rows = torch.cat([model.embed([8], [1]), torch.randn(17, width), model.embed([12], [1])])
    states = model.append(mixed, [1, 8, 5], [1, 17, 1], rows)
    assert torch.equal(states[0], lone[1])
    assert torch.equal(states[-1], lone[4])
    for cache in (company, mixed):
        assert torch.equal(cache.keys[:, 5, :7], alone.keys[:, 5, :7])
    reference = plain.step(filled(plain), [0, 1, 2, 4, 5, 6], [7, 8, 9, 11, 12, 13], [1] * 6)
    torch.testing.assert_close(together, reference, atol=2e-5, rtol=1e-4)


@pytest.mark.slow
def test_blocks_can_be_traced_for_compilation(
    gpt: SpeechGpt, prefixes: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without code generation, which takes half a minute."""
    monkeypatch.setattr(
        torch, "compile", functools.partial(torch.compile, backend="aot_eager", fullgraph=True)
    )
    compiled = copy.deepcopy(gpt)
    compiled.gpt.compile_blocks()
    for prefix in prefixes[:3]:
        plain, fast = (model.extend(model.new_cache(1, 64), [(0, prefix)])[0] for model in (gpt, compiled))
        torch.testing.assert_close(fast, plain, atol=2e-5, rtol=0)
