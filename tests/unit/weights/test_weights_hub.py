"""Pulling from a hub that breaks off, refuses, lies or is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer, running_hub

from deployments.core.errors import CheckpointError
from deployments.weights.hub import HubFetcher
from deployments.weights.manifest import read_manifest
from deployments.weights.modelscope import ModelScopeFetcher
from deployments.weights.plan import plan_pull
from deployments.weights.pull import SCRATCH_NAME, PullProgress, pull
from deployments.weights.sources import ModelFile, ModelSource, hub_file
from deployments.weights.verify import verify

REPO, COPY = "org/model", "copies/model"
LARGE = bytes(range(256)) * 4000
FILES = {"w.pth": LARGE, "config.yaml": b"a: 1\n", "text/a.json": b"{}", "text/b.bin": b"b"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr("deployments.weights.download.FIRST_WAIT_S", 0.0)
    with running_hub() as hub:
        hub.repos = {REPO: dict(FILES), COPY: dict(FILES)}
        yield hub


@pytest.fixture
def known() -> dict[str, ModelSource]:
    files = [_file(name) for name in ("w.pth", "config.yaml", "text/")]
    return {"toy": ModelSource("toy", "MIT", tuple(files))}


def _file(name: str) -> ModelFile:
    return hub_file(name, REPO, modelscope=COPY)


def test_what_comes_is_said_before_and_shown_meanwhile(
    hub: HubServer, known: dict[str, ModelSource], tmp_path: Path
) -> None:
    fetcher = HubFetcher(hub.url)
    plan = plan_pull("toy", [fetcher], tmp_path, known=known)
    assert (plan.size_bytes, plan.begun_bytes) == (sum(map(len, FILES.values())), 0)
    assert plan.files == ("w.pth", "config.yaml", "text/")
    told: list[PullProgress] = []
    directory = pull("toy", tmp_path, told.append, fetchers=[fetcher], known=known)
    assert told[-1].bytes_done == plan.size_bytes
    assert {name: (directory / name).read_bytes() for name in FILES} == FILES
    entry = read_manifest(directory)["w.pth"]
    assert (entry.source, entry.revision) == (f"hf:{REPO}/w.pth", hub.commit(REPO))
    assert verify("toy", tmp_path, known=known) == []
    # The commit is asked for once, so that all files belong together.
    assert [path for _, path, _ in hub.asked if path.startswith("/api")] == [
        f"/api/models/{REPO}/revision/main"
    ]
    assert all(f"/resolve/{hub.commit(REPO)}/" in path for _, path, _ in hub.asked[1:])


def test_a_lost_connection_is_taken_up_where_it_was_lost(
    hub: HubServer, known: dict[str, ModelSource], tmp_path: Path
) -> None:
    hub.cut, hub.losses = {"w.pth": 300_000}, 1
    directory = pull("toy", tmp_path, fetchers=[HubFetcher(hub.url)], known=known)
    assert (directory / "w.pth").read_bytes() == LARGE
    assert [wanted for _, path, wanted in hub.asked if path.endswith("w.pth")] == [None, "bytes=300000-"]


def test_a_pull_that_was_broken_off_goes_on_with_the_next(
    hub: HubServer, known: dict[str, ModelSource], tmp_path: Path
) -> None:
    hub.cut = {"w.pth": 300_000}
    with pytest.raises(CheckpointError, match=r"out of reach.*goes on where it stopped"):
        pull("toy", tmp_path, fetchers=[HubFetcher(hub.url)], known=known)
    assert not (tmp_path / "toy" / "w.pth").exists()
    hub.cut.clear()
    hub.asked.clear()
    fetcher = HubFetcher(hub.url)
    assert plan_pull("toy", [fetcher], tmp_path, known=known).begun_bytes == 300_000
    directory = pull("toy", tmp_path, fetchers=[fetcher], known=known)
    assert (directory / "w.pth").read_bytes() == LARGE
    assert [wanted for _, path, wanted in hub.asked if path.endswith("w.pth")] == ["bytes=300000-"]
    assert not (directory / SCRATCH_NAME).exists()


@pytest.mark.parametrize("name", ["w.pth", "config.yaml"])
def test_a_wrong_byte_is_refused_and_fetched_again(
    hub: HubServer, known: dict[str, ModelSource], tmp_path: Path, name: str
) -> None:
    hub.wrong.add(name)
    with pytest.raises(CheckpointError, match=f"hf:{REPO}/{name}: its digest is .* instead of"):
        pull("toy", tmp_path, fetchers=[HubFetcher(hub.url)], known=known)
    assert not (tmp_path / "toy" / name).exists()
    hub.wrong.clear()
    directory = pull("toy", tmp_path, fetchers=[HubFetcher(hub.url)], known=known)
    assert (directory / name).read_bytes() == FILES[name]


def test_a_missing_file_is_named(hub: HubServer, known: dict[str, ModelSource], tmp_path: Path) -> None:
    del hub.repos[REPO]["w.pth"]
    with pytest.raises(CheckpointError, match=f"hf:{REPO}/w.pth: the repository holds no such file"):
        pull("toy", tmp_path, fetchers=[HubFetcher(hub.url)], known=known)


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository_says_what_to_do(
    hub: HubServer, known: dict[str, ModelSource], tmp_path: Path, status: int
) -> None:
    hub.refused[REPO] = status
    with pytest.raises(CheckpointError, match=rf"refuses it \({status}\). Accept the licence.*HF_TOKEN"):
        pull("toy", tmp_path, fetchers=[HubFetcher(hub.url)], known=known)


def test_no_network_is_one_sentence_with_what_to_do(known: dict[str, ModelSource], tmp_path: Path) -> None:
    fetchers = [HubFetcher("http://127.0.0.1:1")]
    assert plan_pull("toy", fetchers, tmp_path, known=known).size_bytes is None
    with pytest.raises(CheckpointError) as error:
        pull("toy", tmp_path, fetchers=fetchers, known=known)
    told = str(error.value)
    assert "Hugging Face is out of reach at http://127.0.0.1:1" in told
    assert "HF_ENDPOINT" in told
    assert "models link toy FOLDER" in told


def test_modelscope_helps_where_hugging_face_is_blocked(
    hub: HubServer, known: dict[str, ModelSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("modelscope_hub")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    fetchers = [HubFetcher("http://127.0.0.1:1"), ModelScopeFetcher()]
    assert plan_pull("toy", fetchers, tmp_path, known=known).size_bytes == sum(map(len, FILES.values()))
    directory = pull("toy", tmp_path, fetchers=fetchers, known=known)
    assert {name: (directory / name).read_bytes() for name in FILES} == FILES
    assert read_manifest(directory)["w.pth"].source == f"modelscope:{COPY}/w.pth"


def test_no_room_on_the_disk_is_said_before(
    hub: HubServer, known: dict[str, ModelSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_pull("toy", [HubFetcher(hub.url)], tmp_path, known=known)
    assert plan.disk_problem() is None
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 400_000_000})())
    told = plan_pull("toy", [HubFetcher(hub.url)], tmp_path, known=known).disk_problem()
    assert told is not None
    assert "toy needs 1 MB and 500 MB to spare" in told
    assert "400 MB are free" in told
