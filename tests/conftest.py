"""What every test may use: the place of the golden data, and one running graph per session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, running_cluster
from tiny_indextts import make_tiny_checkpoint
from xdist.scheduler import LoadScopeScheduling

from deployments.core.errors import CheckpointError
from deployments.weights.registry import find_model

TESTS = Path(__file__).parent

# Small tensors do not scale, and two test processes with two threads each get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")


class OneCluster(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out whole files, and everything that needs the cluster to one worker: there is one cluster per session."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0]
        return "cluster" if file.startswith(("tests/http", "tests/graph", "tests/faults")) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneCluster:
    return OneCluster(config, log)


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


def has_kokoro() -> bool:
    try:
        find_model("kokoro")
    except CheckpointError:
        return False
    return True


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    checkpoint = make_tiny_checkpoint(tmp_path_factory.mktemp("index") / "tiny", TESTS / "golden")
    models: dict[str, Any] = {
        "index": {
            "kind": "indextts2",
            "checkpoint": f"{checkpoint}/",
            "quality": "fast",
            # OpenAI's names stay with kokoro, so that what they say can be judged.
            "voice_aliases": {"noise": "tiny"},
        },
        "toy": {"kind": "toys.tones", "quality_rank": 1},
        "toy2": {"kind": "toys.tones"},
        "off": {"kind": "toys.tones", "down": True},
    }
    if has_kokoro():
        models = {"kokoro": {"kind": "kokoro"}, **models}
    with running_cluster(models, voices=tmp_path_factory.mktemp("voices")) as running:
        yield running


@pytest.fixture(scope="session")
def kokoro(cluster: Cluster) -> Cluster:
    """The cluster, for tests that need Kokoro's weights."""
    if not has_kokoro():
        pytest.fail("the Kokoro weights are missing; `make setup` pulls them")
    return cluster
