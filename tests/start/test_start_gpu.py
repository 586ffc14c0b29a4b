"""The GPU start against a hub that holds a tiny official layout, up to the point where a driver is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import free_port
from hub_server import HubServer, running_hub
from start_shell import CLI, ROOT, reader, run
from tiny_indextts import make_tiny_checkpoint
from tiny_voxcpm import make_tiny_checkpoint as make_tiny_voxcpm

from deployments.weights.registry import model_directory, model_source
from deployments.weights.sources import HubFile
from serve_app.commands.graphics import has_driver

OFFICIAL = "IndexTeam/IndexTTS-2"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.weights,
    pytest.mark.skipif(has_driver(), reason="on a machine with a GPU the start would go on"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "indextts2", ROOT / "tests" / "golden")


@pytest.fixture
def hub(tiny: Path) -> Iterator[HubServer]:
    with running_hub() as hub:
        for file in model_source("indextts2").files:
            (origin,) = (origin for origin in file.origins if isinstance(origin, HubFile))
            if file.is_folder:
                hub.repos.setdefault(origin.repo, {})[f"{origin.path}config.json"] = b"{}"
            else:
                hub.repos.setdefault(origin.repo, {})[origin.path] = (tiny / file.target).read_bytes()
        yield hub


class Newcomer:
    """Types the README's command; the weights of all models but one are there already."""

    def __init__(self, home: Path, endpoint: str) -> None:
        self.home = home
        self.models = home / ".cache" / "voicegraph" / "models"
        self.models.mkdir(parents=True)
        (self.models / "kokoro").symlink_to(model_directory("kokoro"))
        make_tiny_voxcpm(self.models / "voxcpm-1.5", ROOT / "tests" / "golden")
        self.environment = reader(home, HF_ENDPOINT=endpoint, PYTHONPATH=str(ROOT))

    def types(self, *arguments: str) -> tuple[int, str]:
        done = run([*CLI, *arguments], self.home, self.environment)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stderr

    def serves(self) -> tuple[int, str]:
        return self.types("serve", str(ROOT / "configs" / "gpu-24g.yaml"), "--port", str(free_port()))


@pytest.fixture
def newcomer(tmp_path: Path, hub: HubServer) -> Newcomer:
    return Newcomer(tmp_path / "home", hub.url)


def test_weights_are_announced_and_pulled_and_then_a_driver_is_asked_for(
    newcomer: Newcomer, hub: HubServer
) -> None:
    code, told = newcomer.serves()
    assert code == 1
    assert "note: no NVIDIA driver was found" in told
    size = sum(len(data) for files in hub.repos.values() for data in files.values())
    expected = f"indextts2: fetching 15 files, {size / 1e6:.0f} MB, to {newcomer.models}/indextts2. Licence: bilibili"
    assert expected in told
    assert f"indextts2: complete in {newcomer.models}/indextts2" in told
    assert "this config needs an NVIDIA GPU, and no driver was found here" in told
    # Nothing is fetched twice.
    hub.asked.clear()
    assert "fetching" not in newcomer.serves()[1]
    assert hub.asked == []


def test_a_lost_network_is_one_line_and_the_next_start_goes_on(newcomer: Newcomer, hub: HubServer) -> None:
    hub.cut["gpt.pth"] = 100_000
    code, told = newcomer.serves()
    assert code == 1
    assert "gpt.pth cannot be pulled. Hugging Face is out of reach" in told
    hub.cut.clear()
    hub.asked.clear()
    _, told = newcomer.serves()
    assert "of it are here" in told
    assert "indextts2: complete in" in told
    assert [asked for _, path, asked in hub.asked if path.endswith("gpt.pth")] == ["bytes=100000-"]
    assert not [path for _, path, _ in hub.asked if path.endswith("config.yaml")]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda hub: hub.wrong.add("s2mel.pth"), "s2mel.pth: its digest is"),
        (lambda hub: hub.repos[OFFICIAL].pop("feat1.pt"), "feat1.pt: the repository holds no such file"),
        (lambda hub: hub.refused.update({OFFICIAL: 403}), "refuses it (403). Accept the licence"),
    ],
    ids=["wrong byte", "missing file", "gated"],
)
def test_what_a_hub_can_do_wrong_is_one_line(
    newcomer: Newcomer, hub: HubServer, spoil: object, said: str
) -> None:
    spoil(hub)  # type: ignore[operator]
    code, told = newcomer.types("models", "pull", "indextts2")
    assert code == 1
    (line,) = (line for line in told.splitlines() if "cannot be pulled" in line)
    assert said in line


def test_no_network(tmp_path: Path) -> None:
    code, told = Newcomer(tmp_path / "home", "http://127.0.0.1:1").types("models", "pull", "indextts2")
    assert code == 1
    (line,) = (line for line in told.splitlines() if "cannot be pulled" in line)
    assert "Hugging Face is out of reach at http://127.0.0.1:1" in line
    assert "HF_ENDPOINT names a mirror" in line


def test_a_folder_that_is_there_already(newcomer: Newcomer, hub: HubServer, tiny: Path) -> None:
    code, told = newcomer.types("models", "link", "indextts2", str(tiny))
    assert (code, "are linked in" in told) == (0, True), told
    code, told = newcomer.serves()
    assert "fetching" not in told
    assert "no driver was found here" in told
    assert hub.asked == []
