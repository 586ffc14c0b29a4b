"""The networks of `s2mel.pth` together, and loading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deployments.core.errors import CheckpointError
from deployments.indextts2.s2mel.dims import S2MelDims
from deployments.indextts2.s2mel.estimator import Estimator
from deployments.indextts2.s2mel.length_regulator import LengthRegulator
from deployments.weights.tensors import load_strict, read_tensors, subset, without_values


class S2MelNetworks(nn.Module):
    """Names as below `net` in the checkpoint: `cfm.estimator`, `length_regulator`, `gpt_layer`."""

    def __init__(self, dims: S2MelDims) -> None:
        super().__init__()
        self.dims = dims
        self.cfm = nn.ModuleDict({"estimator": Estimator(dims.estimator)})
        self.length_regulator = LengthRegulator(dims.regulator)
        # GPT latents (n, model_dim) to (n, in_channels), to be added to the code embedding (3.1); without widths: none.
        widths = dims.gpt_layer
        self.gpt_layer = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))

    @property
    def estimator(self) -> Estimator:
        estimator = self.cfm["estimator"]
        assert isinstance(estimator, Estimator)
        return estimator

    def unused(self, name: str) -> bool:
        """Tensors of the checkpoint that inference never reads; `name` as in this module."""
        part, _, rest = name.partition(".")
        if part == "cfm":
            return Estimator.unused(rest.removeprefix("estimator."))
        if part == "gpt_layer":
            return not self.gpt_layer
        return part == "length_regulator" and LengthRegulator.unused(rest)


def load_s2mel(
    source: Path | Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    takes_latents: bool = True,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> S2MelNetworks:
    """Networks ready to run, from `s2mel.pth` (or its flattened tensors) and the whole `config.yaml`.

    Only what lies under `net` is read, without the layer for latents where there are none. `dtype` is that of the
    estimator; the rest stays float32.
    Raises CheckpointError if files and config do not fit.
    """
    tensors = read_tensors(source) if isinstance(source, Path) else source
    networks_of_file = _own_names(subset(tensors, "net"))
    name = str(source) if isinstance(source, Path) else "s2mel tensors"
    if not networks_of_file:
        raise CheckpointError(f"{name}: no tensors under `net`; is this the s2mel.pth of IndexTTS2?")
    dims = S2MelDims.from_config(config)
    if not takes_latents:
        dims = replace(dims, gpt_layer=())
    with without_values():
        networks = S2MelNetworks(dims)
    load_strict(networks, networks_of_file, source=name, unused=networks.unused)
    networks.length_regulator.to(device)
    networks.gpt_layer.to(device)
    networks.estimator.prepare(device, dtype)
    return networks


def _own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the `module.` that data-parallel training leaves after the name of the network."""
    named = {}
    for name, value in tensors.items():
        network, _, rest = name.partition(".")
        named[f"{network}.{rest.removeprefix('module.')}"] = value
    return named
