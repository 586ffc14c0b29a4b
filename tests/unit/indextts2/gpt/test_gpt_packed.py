"""The GPT with packed weights is the same function; its blocks can be compiled."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import Tensor

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
