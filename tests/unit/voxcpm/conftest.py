"""Small checkpoints of both kinds of versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_voxcpm import make_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("v15"), Path(__file__).parents[2] / "golden", "v15")


@pytest.fixture(scope="session")
def tiny_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("v2"), Path(__file__).parents[2] / "golden", "v2")
