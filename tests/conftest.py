"""What every test may use: the place of the golden data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """Root of the golden data: `tests/golden`, or another set of the same layout named by VOICEGRAPH_GOLDEN."""
    return Path(os.environ.get("VOICEGRAPH_GOLDEN", TESTS / "golden"))


@pytest.fixture(scope="session")
def golden_front(golden: Path) -> Path:
    return golden / "indextts2-front"


@pytest.fixture(scope="session")
def golden_back(golden: Path) -> Path:
    return golden / "indextts2-back"
