"""The scripts of benchmarks/gpu, as small as they go: the first run on a lent GPU must work."""

from __future__ import annotations

import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretend_cuda_graphs import PretendCuda
from pretend_gpu import PretendGpu

from benchmarks import stage_parts
from benchmarks.gpu import all as everything
from benchmarks.gpu import check_golden, correctness, graph, stages_on_gpu
from benchmarks.gpu.absent import StandIn, stand_in
from benchmarks.gpu.all import Script
from benchmarks.gpu.comparing import agreement, distance, first_difference, tf32
from benchmarks.gpu.options import SIZES
from benchmarks.gpu.report import Check, Report
from deployments.engine.step_engine import StepEngine
from deployments.indextts2.vocoder.service import VocoderService
from deployments.networks.snake import Activation


@pytest.fixture(autouse=True)
def _scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The random weights are shared by all tests of the session."""
    folder = tmp_path_factory.getbasetemp() / "gpu-scripts"
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendGpu]:
    """Pretended in the threads of the engines as well."""
    gpu = PretendGpu()
    PretendCuda(gpu).install(monkeypatch)
    for kind, name in ((StepEngine, "_work"), (VocoderService, "vocode")):
        monkeypatch.setattr(kind, name, within(gpu, getattr(kind, name)))
    monkeypatch.setattr(torch, "compile", lambda target, **_: target)
    monkeypatch.setattr(stage_parts, "ENOUGH_S", 1e-9)
    # Equal, and many times faster on a CPU; tests of the vocoder compare them.
    for name in ("upsample", "downsample"):
        monkeypatch.setattr(Activation, f"{name}_by_convolution", getattr(Activation, f"{name}_by_shifts"))
    with gpu:
        yield gpu


def within(gpu: PretendGpu, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def run(*arguments: Any) -> Any:
        with gpu:
            return method(*arguments)

    return run


def parts(folder: Path, name: str) -> dict[str, Any]:
    (path,) = folder.glob(f"gpu-{name}-tiny-*.json")
    content = json.loads(path.read_text())
    assert content["failed"] == []
    assert content["machine"]["torch"] == torch.__version__
    found: dict[str, Any] = content["parts"]
    return found


def only_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "tiny", replace(SIZES["tiny"], dtypes=("float32",)))


def arguments(folder: Path, device: str, *more: str) -> list[str]:
    return ["--size", "tiny", "--device", device, "--output", str(folder), "--budget-s", "100", *more]


@pytest.mark.parametrize("stage", [name for name in correctness.STAGES if name != "golden"])
def test_correctness(tmp_path: Path, gpu: PretendGpu, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if stage in ("s2mel", "vocoder"):
        only_float32(monkeypatch)
    assert correctness.main(arguments(tmp_path, "cuda", "--stage", stage)) == 0
    found = parts(tmp_path, f"correctness-{stage}")
    checks = [check for part in found.values() if part["result"] for check in part["result"]]
    assert any(check["limit"] is not None for check in checks)
    assert all(check["passed"] for check in checks)


@pytest.mark.parametrize("check", [check_golden._gpt, check_golden._vocoder])
def test_golden_data(check: Callable[[str], list[Check]]) -> None:
    assert all(each.passed for each in check("cpu"))


@pytest.mark.parametrize("stage", stages_on_gpu.STAGES)
def test_stages(tmp_path: Path, gpu: PretendGpu, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only_float32(monkeypatch)
    assert stages_on_gpu.main(arguments(tmp_path, "cuda", "--stage", stage)) == 0
    assert '"error": "' not in json.dumps(parts(tmp_path, "stages"))


def test_graph(tmp_path: Path, gpu: PretendGpu) -> None:
    assert graph.main(arguments(tmp_path, "cuda", "--kind", "graph")) == 0
    results = [part["result"] for part in parts(tmp_path, "graph").values()]
    summaries = [result["summary"] for result in results if result]
    assert all(summary["ok"] == summary["requests"] > 0 for summary in summaries)
    assert all(summary["first_sample_s"]["p50"] > 0 for summary in summaries)


def test_on_a_cpu(tmp_path: Path) -> None:
    """Where there is no GPU the scripts say what they can."""
    assert correctness.main(arguments(tmp_path, "cpu", "--stage", "speaker")) == 0
    assert parts(tmp_path, "correctness-speaker")["speaker float32"]["result"]


def test_one_script_that_ends_badly_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(everything, "SCRIPTS", (Script("nothing", (), 1), Script("absent", (), 1)))
    assert everything.main(arguments(tmp_path, "cpu")) == 1
    (path,) = tmp_path.glob("gpu-all-*.json")
    content = json.loads(path.read_text())
    assert content["failed"] == ["nothing"]
    assert content["parts"]["absent"]["result"]["exit_code"] == 0
    assert "No module named benchmarks.gpu.nothing" in capfd.readouterr().err


def test_a_script_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everything, "SCRIPTS", (Script("absent", (), 1),))
    monkeypatch.setattr(everything.sys, "executable", str(endless(tmp_path)))
    assert everything.main([*arguments(tmp_path, "cpu"), "--budget-s", "12"]) == 1
    (path,) = tmp_path.glob("gpu-all-*.json")
    assert json.loads(path.read_text())["parts"]["absent"]["result"]["timed_out"]


def endless(folder: Path) -> Path:
    script = folder / "endless"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    return script


def report(folder: Path, budget_s: float = 60.0) -> Report:
    return Report("test", device="cpu", budget_s=budget_s, output=folder, about={"size": "tiny"})


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


def test_packages_that_are_absent_can_be_imported_but_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nowhere_a", "nowhere_a.b"):
        monkeypatch.setitem(sys.modules, name, StandIn(name))
        monkeypatch.delitem(sys.modules, name)
    stand_in("nowhere_a", "nowhere_a.b", "json.decoder")
    module = __import__("nowhere_a.b").b
    assert isinstance(module, StandIn)
    with pytest.raises(ModuleNotFoundError, match="Handle"):
        module.Handle()
    assert not isinstance(sys.modules["json.decoder"], StandIn)
