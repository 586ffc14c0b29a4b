"""The AudioVAE's file holds both halves, and the stages load one of them each (voxcpm.md 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor, nn

from deployments.core.errors import CheckpointError
from deployments.networks.weight_norm import fold_weight_norm
from deployments.voxcpm.dims import VaeDims
from deployments.weights.tensors import load_strict, subset, without_values

HALVES = ("encoder", "decoder")
Network = TypeVar("Network", bound=nn.Module)


def load_half(
    make: Callable[[], Network],
    tensors: Mapping[str, Tensor],
    half: str,
    dims: VaeDims,
    *,
    source: str,
    unused: Callable[[str], bool] = lambda name: False,
) -> Network:
    """The network that `make` makes, with its tensors, strictly. Weight norms may have been folded.

    Raises CheckpointError.
    """
    if not dims.depthwise:
        raise CheckpointError(f"{source}: only a VAE with `depthwise: true` is supported")
    strangers = [name for name in tensors if not name.startswith(tuple(f"{each}." for each in HALVES))]
    if strangers:
        raise CheckpointError(f"{source}: {strangers[0]!r} is part of neither encoder nor decoder")
    own = subset(tensors, half)
    with without_values():
        network = make()
        if not any(name.endswith(".weight_g") for name in own):
            fold_weight_norm(network)
    load_strict(network, own, source=f"{source}, {half}", unused=unused)
    return network
