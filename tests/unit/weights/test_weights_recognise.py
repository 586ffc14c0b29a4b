"""Which family's checkpoint a folder is; and `voicegraph check` of one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny_indextts
import tiny_indextts25
import tiny_voxcpm
from typer.testing import CliRunner

from deployments.weights.recognise import recognise
from serve_app.cli import app

MAKERS = {
    "IndexTTS2: a GPT of ": tiny_indextts,
    "IndexTTS-2.5: a GPT of ": tiny_indextts25,
    "VoxCPM of architecture voxcpm2": tiny_voxcpm,
}


@pytest.mark.slow
@pytest.mark.parametrize("told", MAKERS)
def test_whole_checkpoints(told: str, golden: Path, tmp_path: Path) -> None:
    directory = MAKERS[told].make_tiny_checkpoint(tmp_path / "there", golden)
    found = recognise(directory)
    assert found is not None
    assert found.problems == ()
    assert found.what.startswith(told)
    checked = CliRunner().invoke(app, ["check", str(directory)])
    assert checked.exit_code == 0
    assert checked.stderr.startswith(f"{directory}: {found.what} (kind: {found.kind})")


def test_what_is_missing_is_said_with_what_it_is(golden_25: Path) -> None:
    checked = CliRunner().invoke(app, ["check", str(golden_25 / "checkpoint")])
    assert checked.exit_code == 1
    assert "campplus_cn_common.bin is missing. Run: " in checked.stderr
    assert "IndexTTS-2.5" in checked.stderr
    assert "25 codes a second of speech; it cannot tell an emotion from text" in checked.stderr


def test_a_folder_of_something_else(tmp_path: Path, golden_25: Path) -> None:
    assert recognise(tmp_path) is None
    shutil.copy(golden_25 / "generation.json", tmp_path / "config.json")
    (tmp_path / "config.yaml").write_text("models: {}")
    checked = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert checked.exit_code == 1
    assert "no model here knows it as a checkpoint" in checked.stderr
