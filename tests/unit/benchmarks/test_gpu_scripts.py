"""The scripts of benchmarks/gpu, as small as they go: the first run on a GPU must work."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpu_fixture import Gpu

from benchmarks import stage_parts
from benchmarks.gpu import all as everything
from benchmarks.gpu import correctness, graph, stages_on_gpu, voxcpm
from benchmarks.gpu.all import Script
from benchmarks.gpu.comparing import agreement, distance, first_difference, tf32
from benchmarks.gpu.options import SIZES
from benchmarks.gpu.report import RESULTS, Check, Report
from deployments.networks.snake import Activation


@pytest.fixture(autouse=True)
def _scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The random weights are shared by all tests of the session."""
    folder = tmp_path_factory.getbasetemp() / "gpu-scripts"
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


@pytest.fixture
def quick(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> str:
    """The device, for scripts that need not be exact in what they measure."""
    monkeypatch.setattr(stage_parts, "ENOUGH_S", 1e-9)
    if not gpu.is_real:
        monkeypatch.setattr(torch, "compile", lambda target, **_: target)
        # Equal, and many times faster on a CPU; tests of the vocoder compare them.
        for name in ("upsample", "downsample"):
            monkeypatch.setattr(
                Activation, f"{name}_by_convolution", getattr(Activation, f"{name}_by_shifts")
            )
    return gpu.device


def parts(folder: Path, name: str) -> dict[str, Any]:
    content = json.loads((folder / f"{name}-tiny.json").read_text())
    assert content["failed"] == []
    assert content["machine"]["torch"] == torch.__version__
    found: dict[str, Any] = content["parts"]
    return found


def only_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "tiny", replace(SIZES["tiny"], dtypes=("float32",)))


def arguments(folder: Path, device: str, *more: str) -> list[str]:
    return ["--size", "tiny", "--device", device, "--output", str(folder), "--budget-s", "100", *more]


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.parametrize("stage", correctness.STAGES)
def test_correctness(tmp_path: Path, quick: str, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if stage in ("s2mel", "vocoder"):
        only_float32(monkeypatch)
    assert correctness.main(arguments(tmp_path, quick, "--stage", stage)) == 0
    found = parts(tmp_path, f"correctness-{stage}")
    checks = [check for part in found.values() if part["result"] for check in part["result"]]
    assert any(check["limit"] is not None for check in checks)
    assert all(check["passed"] for check in checks)


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.parametrize("stage", stages_on_gpu.STAGES)
def test_stages(tmp_path: Path, quick: str, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only_float32(monkeypatch)
    assert stages_on_gpu.main(arguments(tmp_path, quick, "--stage", stage)) == 0
    assert '"error": "' not in json.dumps(parts(tmp_path, "stages"))


@pytest.mark.slow
@pytest.mark.gpu
def test_graph(tmp_path: Path, quick: str) -> None:
    assert graph.main(arguments(tmp_path, quick, "--kind", "graph")) == 0
    results = [part["result"] for part in parts(tmp_path, "graph").values()]
    summaries = [result["summary"] for result in results if result]
    assert all(summary["ok"] == summary["requests"] > 0 for summary in summaries)
    assert all(summary["first_sample_s"]["p50"] > 0 for summary in summaries)


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.parametrize("version", ["1.5", "2"])
def test_voxcpm(tmp_path: Path, quick: str, version: str) -> None:
    assert voxcpm.main(arguments(tmp_path, quick, "--version", version)) == 0
    found = parts(tmp_path, "voxcpm")
    for mode in voxcpm.MODES:
        assert found[f"{version} {mode}, engine"]["result"]["given_up"] == []
        for rows in (1, 4):
            summary = found[f"{version} {mode}, {rows} rows"]["result"]["summary"]
            assert summary["ok"] == summary["requests"] == voxcpm.ROUNDS * rows
            assert summary["first_sample_s"]["p50"] > 0 < summary["rtf"]["p50"]


@pytest.mark.slow
def test_on_a_cpu(tmp_path: Path) -> None:
    """Where there is no GPU the scripts say what they can."""
    assert correctness.main(arguments(tmp_path, "cpu", "--stage", "speaker")) == 0
    assert parts(tmp_path, "correctness-speaker")["speaker float32"]["result"]


@pytest.mark.slow
def test_one_script_that_ends_badly_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(everything, "SCRIPTS", (Script("nothing", (), 1), Script("options", (), 1)))
    assert everything.main(arguments(tmp_path, "cpu")) == 1
    content = json.loads((tmp_path / "all-tiny.json").read_text())
    assert content["failed"] == ["nothing"]
    assert content["parts"]["options"]["result"]["exit_code"] == 0
    assert "No module named benchmarks.gpu.nothing" in capfd.readouterr().err


@pytest.mark.slow
def test_a_script_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everything, "SCRIPTS", (Script("options", (), 1),))
    monkeypatch.setattr(everything.sys, "executable", str(endless(tmp_path)))
    assert everything.main([*arguments(tmp_path, "cpu"), "--budget-s", "12"]) == 1
    content = json.loads((tmp_path / "all-tiny.json").read_text())
    assert content["parts"]["options"]["result"]["timed_out"]


def endless(folder: Path) -> Path:
    script = folder / "endless"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    return script


def report(folder: Path | None, budget_s: float = 60.0) -> Report:
    return Report("test", device="cpu", budget_s=budget_s, output=folder, about={"size": "tiny"})


def test_results_lie_in_a_folder_of_the_device() -> None:
    made = report(None)
    assert made.path == RESULTS / "cpu" / "test.json"
    assert not made.path.exists(), "nothing is written before there is a result"


def test_a_part_that_fails_is_told_and_the_next_one_runs(tmp_path: Path) -> None:
    written = report(tmp_path)
    assert written.part("broken", lambda: 1 / 0) is None
    written.part("checks", lambda: [Check("near", 1e-6, 1e-5), Check("far", 1.0, 0.1), Check("told", 9.0)])
    assert written.end() == 1
    content = json.loads(written.path.read_text())
    assert content["failed"] == ["broken", "checks: far"]
    assert "ZeroDivisionError" in content["parts"]["broken"]["error"]
    assert [check["passed"] for check in content["parts"]["checks"]["result"]] == [True, False, True]


def test_what_is_not_a_number_never_passes(tmp_path: Path) -> None:
    written = report(tmp_path)
    written.part("checks", lambda: [Check("lost", distance(np.array([np.nan]), np.array([1.0])), 1.0)])
    assert written.failed == ["checks: lost"]
    assert json.loads(written.path.read_text())["parts"]["checks"]["result"][0]["value"] == "nan"


def test_nothing_starts_when_the_budget_is_spent(tmp_path: Path) -> None:
    written = report(tmp_path, budget_s=0.0)
    assert written.part("late", lambda: pytest.fail("it ran")) is None
    assert "skipped" in json.loads(written.path.read_text())["parts"]["late"]
    assert written.end() == 0


def test_comparing() -> None:
    assert distance(np.array([1.0, 2.0]), np.array([1.0, 1.0]), centre=2.0) == pytest.approx(0.5**0.5)
    assert first_difference([1, 2, 3], [1, 2, 3]) is None
    assert first_difference([1, 2], [1, 2, 3]) == 2
    assert first_difference([1, 5, 3], [1, 2, 3]) == 1
    assert agreement([[1, 2], [3, 9]], [[1, 2], [3, 4]]) == 0.75
    before = torch.backends.cudnn.allow_tf32
    with tf32(False):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before
