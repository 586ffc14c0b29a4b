"""A tiny s2mel with random weights, and the official configuration."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from deployments.indextts2.s2mel.dims import S2MelDims
from deployments.indextts2.s2mel.flow import FlowSolver
from deployments.indextts2.s2mel.networks import S2MelNetworks, load_s2mel

SPECS = Path(__file__).parents[3] / "specs"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(11)


@pytest.fixture(scope="session")
def specs() -> Path:
    return SPECS


@pytest.fixture(scope="session")
def official_config(specs: Path) -> dict[str, Any]:
    return yaml.safe_load((specs / "indextts2-config.yaml").read_text())


@pytest.fixture(scope="session")
def tiny_config(official_config: dict[str, Any]) -> dict[str, Any]:
    """Unlike the official model in every width, with an even depth and another kernel."""
    config = deepcopy(official_config)
    config["gpt"]["model_dim"] = 20
    s2mel = config["s2mel"]
    s2mel["length_regulator"] |= {"channels": 12, "in_channels": 10, "sampling_ratios": [1, 1]}
    s2mel["DiT"] |= {"hidden_dim": 16, "num_heads": 2, "depth": 4, "content_dim": 12, "in_channels": 6}
    s2mel["wavenet"] |= {"hidden_dim": 16, "num_layers": 2, "kernel_size": 7}
    s2mel["style_encoder"]["dim"] = 5
    return config


@pytest.fixture(scope="session")
def tiny_tensors(tiny_config: dict[str, Any]) -> dict[str, Tensor]:
    """As `read_tensors` gives them for a file of the official layout."""
    generator = torch.Generator().manual_seed(7)
    with torch.device("meta"):
        shapes = S2MelNetworks(S2MelDims.from_config(tiny_config)).state_dict()
    return {
        f"net.{name}": torch.randn(value.shape, generator=generator) * 0.2 + ("weight_g" in name)
        for name, value in shapes.items()
    }


@pytest.fixture(scope="session")
def networks(tiny_tensors: dict[str, Tensor], tiny_config: dict[str, Any]) -> S2MelNetworks:
    return load_s2mel(tiny_tensors, tiny_config)


@pytest.fixture(scope="session")
def solver(networks: S2MelNetworks) -> FlowSolver:
    return FlowSolver(networks.estimator)
