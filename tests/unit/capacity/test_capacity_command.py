"""`voicegraph capacity`, and the costs file it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serve_app.capacity.command import ESTIMATED
from serve_app.capacity.costs import CostsError, read_costs
from serve_app.cli import app

CONFIGS = Path(__file__).parents[3] / "configs"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["capacity", *arguments])


def test_the_answer_for_one_card_and_for_many() -> None:
    found = {}
    for streams in (1, 500, 100_000):
        done = run(str(CONFIGS / "gpu-80g.yaml"), "--streams", str(streams), "--json")
        assert done.exit_code == 0, done.output
        found[streams] = json.loads(done.stdout)
    assert found[1]["cards"] == 1
    assert 1 < found[500]["cards"] < found[100_000]["cards"]
    assert found[100_000]["clusters"] > 1
    assert found[500]["estimated"] is True
    replicas = {each["deployment"]: each["replicas"] for each in found[500]["deployments"]}
    assert {"Ingress", "Router", "indextts2-gpt", "indextts2-s2mel"} <= replicas.keys()
    assert not any(name.startswith(("kokoro", "voxcpm")) for name in replicas)


def test_estimates_are_called_so_and_the_fullest_stage_is_marked() -> None:
    done = run(str(CONFIGS / "gpu-80g.yaml"), "--streams", "50")
    assert "estimates, not measurements" in done.output
    assert "indextts2-s2mel *" in done.output


def test_a_model_of_one_stage() -> None:
    done = run(str(CONFIGS / "cpu.yaml"), "--streams", "10", "--model", "kokoro", "--json")
    found = json.loads(done.stdout)
    (kokoro,) = (each for each in found["deployments"] if each["deployment"] == "kokoro")
    assert kokoro["replicas"] == 4  # 0.7 / 0.23 each
    assert found["cards"] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("cpu", "--streams", "5", "--model", "nobody"), "model 'nobody' is not in the file"),
        (("nowhere.yaml", "--streams", "5"), "nowhere"),
        (("cpu", "--streams", "5", "--costs", "no-such-file"), "no-such-file: cannot be read"),
        (("gpu-80g", "--streams", "5", "--node-gpus", "0"), "give --node-gpus"),
    ],
)
def test_what_cannot_be_answered_is_said(arguments: tuple[str, ...], told: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert told in done.output


def costs(**changes: Any) -> dict[str, Any]:
    stage = {"rows": 4, "points": [[1, 0.2], [4, 0.1]], **changes}
    return {"version": 1, "machine": "here", "models": {"kokoro": {"stages": {"kokoro": stage}}}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (costs(points=[[4, 0.1], [1, 0.2]]), "kokoro.points: the rows must grow"),
        (costs(points=[[1, 0.0]]), "must be above 0"),
        (costs(points=[]), "points"),
        (costs(row=3), "row: Extra inputs"),
        (costs() | {"version": 2}, "version: is 2; this program knows 1"),
        ([], "valid dictionary"),
    ],
)
def test_faults_of_a_costs_file_name_their_place(tmp_path: Path, content: Any, told: str) -> None:
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CostsError, match=str(path)) as caught:
        read_costs(path)
    assert told in str(caught.value)


def test_a_stage_that_was_not_measured_is_said(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_text(
        json.dumps(costs()).replace('"stages": {"kokoro"', '"stages": {"talker"'), encoding="utf-8"
    )
    done = run("cpu", "--streams", "5", "--costs", str(path))
    assert done.exit_code == 2
    assert "have no stage 'kokoro'; they have talker" in done.output


def test_the_file_that_is_shipped_is_right() -> None:
    found = read_costs(ESTIMATED)
    assert found.estimated
    assert {"indextts2", "voxcpm", "kokoro"} == found.models.keys()
