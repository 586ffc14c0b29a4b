"""Linear layers laid out for the CPU's matrix kernel: few rows cost little more than reading the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deployments.gpt.trunk import InputMajorLinear

# The kernel gives a row the same bits in any batch of at least this many rows; a single row takes another path.
LEAST_ROWS = 2


class PackedLinear(nn.Module):
    """y = x·Wᵀ + b. The packed weights replace the ones they were made from; they cannot be saved or moved."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """weight (out,in), bias (out), on the CPU."""
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


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
        if isinstance(child, InputMajorLinear):
            setattr(module, name, PackedLinear(child.weight.detach().t(), child.bias.detach()))
        elif isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child.weight.detach(), child.bias.detach()))
        else:
            pack(child)
