"""What is fetched before a start, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.core.errors import CheckpointError
from serve_app.commands import provision
from serve_app.config_file import ConfigFile, load

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without weights, and a package without a repository around it."""
    monkeypatch.setenv("VOICEGRAPH_MODELS", str(tmp_path))
    monkeypatch.setattr("deployments.weights.registry.CARRIED", tmp_path / "none")
    return tmp_path


@pytest.fixture
def pulled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(provision, "pull_with_bar", names.append)
    return names


@pytest.fixture(scope="module")
def cpu() -> ConfigFile:
    return load(CONFIGS / "cpu.yaml")


def test_an_optional_model_that_cannot_be_had_is_left_out(bare: Path, cpu: ConfigFile) -> None:
    left_out = provision.left_out(cpu)
    assert list(left_out) == ["indextts2"]
    assert "indextts2-nano" in left_out["indextts2"]


def test_a_model_that_was_asked_for_is_not_optional(bare: Path) -> None:
    assert provision.left_out(load(CONFIGS / "cpu.yaml", models=["indextts2"])) == {}


def test_nothing_is_left_out_where_the_repository_is(cpu: ConfigFile) -> None:
    assert provision.left_out(cpu) == {}


def test_what_is_missing_is_pulled(bare: Path, pulled: list[str]) -> None:
    problems = provision.provision(load(CONFIGS / "cpu.yaml", models=["kokoro"]), pull=True)
    assert pulled == ["kokoro"]
    assert len(problems) == 1  # nothing came: the pull was none


def test_or_the_command_is_said(bare: Path, pulled: list[str]) -> None:
    (problem,) = provision.provision(load(CONFIGS / "cpu.yaml", models=["kokoro"]), pull=False)
    assert pulled == []
    assert "voicegraph models pull kokoro" in problem


def test_a_failed_pull_is_the_only_thing_said(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise CheckpointError("Hugging Face is out of reach")

    monkeypatch.setattr(provision, "pull_with_bar", refuse)
    config = load(CONFIGS / "cpu.yaml", models=["kokoro"])
    assert provision.provision(config, pull=True) == ["Hugging Face is out of reach"]
