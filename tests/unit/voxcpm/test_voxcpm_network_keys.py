"""The networks at their published sizes hold exactly the tensors of the published files (on the meta device)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deployments.voxcpm.dims import dims_from
from deployments.voxcpm.network import VoxCPMNetwork

LISTED = json.loads((Path(__file__).parents[2] / "specs/voxcpm-keys.json").read_text())


@pytest.mark.parametrize(
    ("version", "tensors", "parameters"),
    [("voxcpm-0.5b", 377, 652_287_296), ("voxcpm-1.5", 467, None), ("voxcpm2", 577, None)],
)
def test_published_sizes(version: str, tensors: int, parameters: int | None) -> None:
    with torch.device("meta"):
        network = VoxCPMNetwork(dims_from(LISTED[version]["config"]))
    held = network.state_dict()
    stored = {name: tuple(shape) for name, shape in LISTED[version]["model"].items()}
    assert {name: tuple(value.shape) for name, value in held.items()} == stored
    assert len(held) == tensors
    if parameters is not None:
        assert sum(value.numel() for value in held.values()) == parameters
