"""Packed linear layers: a row's bits are independent of its company."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from deployments.networks.packed_linear import GELU_TANH, PackedLinear, can_pack


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("inputs", "outputs"), [(48, 144), (192, 48), (512, 8194), (2048, 512)])
def test_a_row_has_the_same_bits_in_any_batch(dtype: torch.dtype, inputs: int, outputs: int) -> None:
    if not can_pack(torch.device("cpu"), dtype):
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
    if not can_pack(torch.device("cpu"), dtype):
        pytest.skip(f"no packed kernel for {dtype} on this machine")
    weight, bias, x = (torch.randn(*shape).to(dtype) for shape in ((192, 48), (192,), (300, 48)))
    layer = PackedLinear(weight * 0.2, bias, GELU_TANH)
    whole = layer(x)
    expected = F.gelu(PackedLinear(weight * 0.2, bias)(x), approximate="tanh")
    torch.testing.assert_close(whole, expected, atol=tolerance, rtol=0)
    for rows in (2, 3, 5, 8, 9, 16, 31, 64, 129, 299):
        assert torch.equal(layer(x[-rows:]), whole[-rows:]), rows
