"""The AudioVAE at its published sizes holds exactly the tensors of the published files (on the meta device)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deployments.voxcpm.dims import dims_from
from deployments.voxcpm.vae.decoder import VaeDecoder
from deployments.voxcpm.vae.encoder import VaeEncoder

LISTED = json.loads((Path(__file__).parents[2] / "specs/voxcpm-keys.json").read_text())


def held(module: torch.nn.Module, half: str) -> dict[str, tuple[int, ...]]:
    return {f"{half}.{name}": tuple(value.shape) for name, value in module.state_dict().items()}


@pytest.mark.parametrize("version", ["voxcpm-0.5b", "voxcpm-1.5", "voxcpm2"])
def test_published_sizes(version: str) -> None:
    dims = dims_from(LISTED[version]["config"]).vae
    with torch.device("meta"):
        made = held(VaeEncoder(dims), "encoder") | held(VaeDecoder(dims), "decoder")
    stored = {name: tuple(shape) for name, shape in LISTED[version]["audiovae"].items()}
    assert made == {name: shape for name, shape in stored.items() if ".fc_logvar." not in name}
