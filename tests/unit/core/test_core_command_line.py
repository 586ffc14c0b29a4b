"""Commands in messages are spelt as the reader can type them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deployments.core import command_line


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ours, in an environment below the folder that the reader is in; nothing is on the PATH."""
    script = tmp_path / ".venv" / "bin" / "voicegraph"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script.parent / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return script


def test_with_its_path_where_the_shell_would_not_find_it(script: Path) -> None:
    assert command_line.voicegraph("say x") == ".venv/bin/voicegraph say x"


def test_with_its_whole_path_from_elsewhere(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert command_line.voicegraph("say x") == f"{script} say x"


def test_by_its_name_where_the_shell_finds_it(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(script.parent))
    assert command_line.voicegraph("say x") == "voicegraph say x"


def test_with_its_path_where_the_shell_finds_another(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other" / "voicegraph"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(other.parent))
    assert command_line.voicegraph("say x") == ".venv/bin/voicegraph say x"


def test_the_start_of_a_clone_and_of_a_package(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command_line.start() == "make serve"
    monkeypatch.setattr(command_line, "REPOSITORY", tmp_path)
    assert command_line.start() == ".venv/bin/voicegraph serve"
