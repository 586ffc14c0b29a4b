"""The package as somebody installs it: in an environment and a folder of its own, far from the repository."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import free_port
from start_shell import ROOT, SHELL_PATH, Serving, reader, run, serving

from deployments.weights.registry import model_directory

BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "configs", "serve_app", "deployments")
BUILD = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"

pytestmark = [pytest.mark.slow, pytest.mark.weights, pytest.mark.alone]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    done = run([sys.executable, "-c", BUILD], source, reader(source / "home"))
    assert done.returncode == 0, done.stderr
    return next((source / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds the wheel, and this one's packages instead of a gigabyte from an index."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    environment = reader(venv.parent / "home")
    assert (
        run([sys.executable, "-m", "venv", "--without-pip", str(venv)], Path("/"), environment).returncode
        == 0
    )
    packages = next(venv.glob("lib/python*/site-packages"))
    # A folder that is added in this way has no say itself: not in it is what is installed from a repository.
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", "-q"]
    done = run([*pip, "--no-deps", "--no-index", str(wheel)], venv, environment)
    assert done.returncode == 0, done.stderr
    return venv / "bin"


@pytest.fixture(scope="module")
def server(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("empty")
    # Pulling them is the business of other tests; here it would be a download for each run.
    weights = model_directory("kokoro")
    models = folder / "home" / ".cache" / "voicegraph" / "models"
    models.mkdir(parents=True)
    (models / "kokoro").symlink_to(weights)
    environment = reader(folder / "home", PATH=f"{installed}:{SHELL_PATH}")
    port = free_port()
    with serving(["voicegraph", "serve", "--port", str(port)], port, folder, environment) as running:
        yield running


def test_the_wheel_holds_the_configs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    own = {f"serve_app/configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")}
    assert own <= set(names)
    assert not [name for name in names if name.startswith(("configs/", "models/", "tests/"))]


def test_it_says_what_it_is(installed: Path, tmp_path: Path) -> None:
    environment = reader(tmp_path / "home", PATH=f"{installed}:{SHELL_PATH}")
    assert run(["voicegraph", "--version"], tmp_path, environment).stdout.startswith("voicegraph 0.")
    shown = run(["voicegraph", "config", "show", "cpu"], tmp_path, environment)
    assert shown.stdout == (ROOT / "configs" / "cpu.yaml").read_text("utf-8")
    (tmp_path / "mine.yaml").write_text(shown.stdout)
    checked = run(["voicegraph", "check", "mine.yaml", "cpu"], tmp_path, environment)
    assert checked.stderr.split() == ["mine.yaml:", "ok", "cpu:", "ok"]


def test_weights_are_asked_for_where_none_are_pulled(installed: Path, tmp_path: Path) -> None:
    environment = reader(tmp_path / "home", PATH=f"{installed}:{SHELL_PATH}")
    done = run(["voicegraph", "serve", "--no-pull", "--port", str(free_port())], tmp_path, environment)
    assert done.returncode == 1
    assert "indextts2 is left out" in done.stderr
    assert "Run: voicegraph models pull kokoro" in done.stderr


def test_it_serves_from_an_empty_folder(server: Serving, installed: Path, tmp_path: Path) -> None:
    assert "note: indextts2 is left out" in server.told
    assert 'voicegraph say "Hello from Voicegraph." -o hello.mp3' in server.told
    environment = reader(tmp_path / "home", PATH=f"{installed}:{SHELL_PATH}")
    done = run(["voicegraph", "say", "Hello.", "-o", "hello.mp3", "--url", server.url], tmp_path, environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hello.mp3").stat().st_size > 5000
