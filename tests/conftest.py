"""What every test may use: the place of the golden data, and one running graph per session."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster import PATIENT_S, Cluster, running_cluster
from hypothesis import settings
from tiny_indextts import make_tiny_checkpoint
from xdist.scheduler import LoadScopeScheduling

from deployments.core.errors import CheckpointError
from deployments.weights.registry import find_model

pytest_plugins = ["gpu_fixture"]

TESTS = Path(__file__).parent

NEED_CLUSTER = ("graph", "http", "faults")  # folders

# Small tensors do not scale, and two test processes with two threads each get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# One commit, one result: property tests draw the same cases each time. `--hypothesis-profile default` draws new ones.
settings.register_profile("same-cases", derandomize=True)
settings.load_profile("same-cases")

# Names this run, in the environment of every process that it starts, Ray's own included.
RUN = "VOICEGRAPH_TEST_RUN"


def pytest_configure(config: pytest.Config) -> None:
    if not is_worker(config):
        os.environ[RUN] = uuid.uuid4().hex


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what this run started and could not end itself: xdist kills a worker ten seconds after Ctrl-C."""
    if is_worker(config):
        return
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(RUN) == os.environ[RUN]:
                process.kill()


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run tests marked `slow` too")
    parser.addoption(
        "--cases", type=int, default=100, help="requests that each fuzz test of tests/http makes up"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(TESTS).parts[0] in NEED_CLUSTER:
            item.add_marker("cluster")
    named = any(Path(word.split("::")[0]).is_file() for word in config.args)
    if not config.getoption("--slow") and not named:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


class OneCluster(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out whole files, and everything that needs the cluster to one worker: there is one cluster per session."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0]
        return "cluster" if file.startswith(tuple(f"tests/{name}" for name in NEED_CLUSTER)) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneCluster:
    return OneCluster(config, log)


@pytest.fixture(scope="module", autouse=True)
def alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module marked `alone` waits until no other worker runs one, and then holds all others up.

    Whoever wants to begin passes the gate; who is to be alone keeps it shut until it has ended.
    """
    folder = Path(tempfile.gettempdir()) / f"voicegraph-tests-{os.environ[RUN]}"
    folder.mkdir(exist_ok=True)
    wanted = fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH
    with (folder / "gate").open("w") as gate, (folder / "running").open("w") as running:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(running, wanted)
        if wanted == fcntl.LOCK_SH:
            fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> int:
    """How many requests a fuzz test makes up."""
    return int(request.config.getoption("--cases"))


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


@pytest.fixture(scope="session")
def golden_25(golden: Path) -> Path:
    return golden / "indextts2.5"


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
            "longest_wait_s": PATIENT_S,
            # OpenAI's names stay with kokoro, so that what they say can be judged.
            "voice_aliases": {"noise": "tiny"},
        },
        "toy": {"kind": "toys.tones", "quality_rank": 1},
        "toy2": {"kind": "toys.tones"},
        "off": {"kind": "toys.tones", "down": True},
    }
    if has_kokoro():
        models = {"kokoro": {"kind": "kokoro", "longest_wait_s": PATIENT_S}, **models}
    with running_cluster(models, voices=tmp_path_factory.mktemp("voices")) as running:
        yield running


@pytest.fixture(scope="session")
def kokoro(cluster: Cluster) -> Cluster:
    """The cluster, for tests that need Kokoro's weights."""
    if not has_kokoro():
        pytest.fail("the Kokoro weights are missing; `make setup` pulls them")
    return cluster
