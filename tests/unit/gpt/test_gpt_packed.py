"""Packed weights: the same function, a row's bits independent of its company."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deployments.gpt.model import SpeechGpt
from deployments.gpt.packed import GELU_TANH, PackedLinear, can_pack


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("inputs", "outputs"), [(48, 144), (192, 48), (512, 8194), (2048, 512)])
def test_a_row_has_the_same_bits_in_any_batch(dtype: torch.dtype, inputs: int, outputs: int) -> None:
    if not can_pack(dtype):
        pytest.skip(f"no packed kernel for {dtype} on this machine")
    weight, bias, x = (
        torch.randn(*shape).to(dtype) for shape in ((outputs, inputs), (outputs,), (300, inputs))
    )
    layer = PackedLinear(weight, bias)
    whole = layer(x)
    for rows in (2, 3, 5, 8, 9, 16, 31, 64, 129, 299):
        assert torch.equal(layer(x[-rows:]), whole[-rows:]), rows


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 4e-2)])
def test_the_activation_inside_the_kernel(dtype: torch.dtype, tolerance: float) -> None:
    if not can_pack(dtype):
        pytest.skip(f"no packed kernel for {dtype} on this machine")
    weight, bias, x = (torch.randn(*shape).to(dtype) for shape in ((192, 48), (192,), (300, 48)))
    layer = PackedLinear(weight * 0.2, bias, GELU_TANH)
    whole = layer(x)
    expected = F.gelu(PackedLinear(weight * 0.2, bias)(x), approximate="tanh")
    torch.testing.assert_close(whole, expected, atol=tolerance, rtol=0)
    for rows in (2, 3, 5, 8, 9, 16, 31, 64, 129, 299):
        assert torch.equal(layer(x[-rows:]), whole[-rows:]), rows


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
