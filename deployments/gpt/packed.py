"""Linear layers laid out for the CPU's matrix kernel: few rows cost little more than reading the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deployments.gpt.trunk import FeedForward, InputMajorLinear

# The kernel gives a row the same bits in any batch of at least this many rows; a single row takes another path.
LEAST_ROWS = 2

# What the kernel does to its result: name and variant.
AS_IT_IS = ("none", "")
GELU_TANH = ("gelu", "tanh")


class PackedLinear(nn.Module):
    """y = f(x·Wᵀ + b). The packed weights replace the ones they were made from; they cannot be saved or moved."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: tuple[str, str] = AS_IT_IS) -> None:
        """weight (out,in), bias (out), on the CPU."""
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        self.bias = bias
        self._activation, self._variant = activation

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, self._activation, [], self._variant
        )


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this machine's torch has the kernel for weights of this type."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def pack(module: nn.Module) -> None:
    """Replace every linear layer inside `module` (on the CPU) by a packed one, letting go of its weights as it goes."""
    for name, child in list(module.named_children()):
        if isinstance(child, FeedForward):
            setattr(module, name, nn.Sequential(_packed(child.c_fc, GELU_TANH), _packed(child.c_proj)))
        elif isinstance(child, InputMajorLinear | nn.Linear):
            setattr(module, name, _packed(child))
        else:
            pack(child)


def _packed(layer: InputMajorLinear | nn.Linear, activation: tuple[str, str] = AS_IT_IS) -> PackedLinear:
    weight = layer.weight.detach()
    weight = weight.t() if isinstance(layer, InputMajorLinear) else weight
    return PackedLinear(weight, layer.bias.detach(), activation)
