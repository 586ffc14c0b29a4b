"""Weight normalisation as the checkpoints store it: `weight_g`, `weight_v` (indextts2-back.md 5, 6)."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv1d, nn.ConvTranspose1d)


def normed(layer: Layer) -> Layer:
    """Let `layer` hold `weight_g`, `weight_v` in place of `weight`. It can run after `fold_weight_norm`."""
    weight = layer.weight
    del layer.weight
    layer.weight_g = nn.Parameter(weight.new_empty(weight.shape[0], *[1] * (weight.dim() - 1)))
    layer.weight_v = weight
    return layer


@torch.no_grad()
def fold_weight_norm(module: nn.Module) -> None:
    """Replace every `weight_g`, `weight_v` by `weight` = g v / ||v||, the norm over all dims but dim 0.

    For transposed convolutions dim 0 is the input channel.
    """
    for layer in module.modules():
        if not hasattr(layer, "weight_v"):
            continue
        gain, direction = layer.get_parameter("weight_g"), layer.get_parameter("weight_v")
        norm = direction.flatten(1).norm(dim=1).view_as(gain)
        del layer.weight_g, layer.weight_v
        layer.weight = nn.Parameter(direction * (gain / norm), requires_grad=False)
