"""Linear layers laid out for the CPU's matrix kernel: few rows cost little more than reading the weights, many cost
less than half of what nn.Linear takes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The kernel gives a row the same bits in any batch of at least this many rows; a single row takes another path.
LEAST_ROWS = 2
# Without packing, CPU matrix products give a row the same bits in any batch of a multiple of this many rows.
UNPACKED_ROWS = 4

# What the kernel does to its result: name and variant.
AS_IT_IS = ("none", "")
GELU_TANH = ("gelu", "tanh")


class PackedLinear(nn.Module):
    """y = f(x·Wᵀ + b). The packed weights replace the ones they were made from; they cannot be saved or moved."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: tuple[str, str] = AS_IT_IS) -> None:
        """weight (out,in), bias (out), on the CPU."""
        super().__init__()
        self.weight = packed_weight(weight)
        self.bias = None if bias is None else bias.detach()
        self._activation, self._variant = activation

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, self._activation, [], self._variant
        )


def packed_weight(weight: Tensor) -> Tensor:
    """(out,in), on the CPU -> what the kernel takes; it cannot be saved or moved."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether weights of this type lie on a CPU whose torch has the kernel for them."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return False
    if dtype == torch.bfloat16:
        # With AMX tiles the kernel's sums depend on how many rows there are.
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and not torch.cpu._is_amx_tile_supported()
    return dtype == torch.float32


def padding_rows(count: int, *, packed: bool, each: int = 1) -> int:
    """How many to add to `count`, which have `each` rows, so that on a CPU no row's bits depend on the others."""
    return max(0, -(-LEAST_ROWS // each) - count) if packed else -count % UNPACKED_ROWS


def pack_linears(module: nn.Module, *, keep: type[nn.Module]) -> None:
    """Replace every nn.Linear inside `module` by a packed one, except inside modules of the type `keep`."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child.weight, child.bias))
        elif not isinstance(child, keep):
            pack_linears(child, keep=keep)
