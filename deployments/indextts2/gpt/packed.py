"""The GPT's linear layers for the CPU's matrix kernel, activations fused into them."""

from __future__ import annotations

from torch import nn

from deployments.indextts2.gpt.trunk import FeedForward, InputMajorLinear
from deployments.networks.packed_linear import AS_IT_IS, GELU_TANH, PackedLinear


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
    weight = layer.weight.t() if isinstance(layer, InputMajorLinear) else layer.weight
    return PackedLinear(weight, layer.bias, activation)
