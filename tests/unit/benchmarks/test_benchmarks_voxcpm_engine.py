"""The benchmark of VoxCPM's engine, as small as it goes, and what it compares the engine with."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
import typer

from benchmarks.random_voxcpm import OFFICIAL, VERSIONS, write_checkpoint
from benchmarks.voxcpm_engine import COMPANY, STREAMS, Goal, main
from benchmarks.voxcpm_loop import PlainLoop
from benchmarks.voxcpm_worker import Package
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.checkpoint_check import problems
from deployments.voxcpm.step.engine import VoxCPMEngine, load_parts
from deployments.voxcpm.step.job import VoxCPMJob

STAND_IN = """
    import numpy as np
    from types import SimpleNamespace

    class VoxCPM:
        tts_model = SimpleNamespace(sample_rate=1000)

        def __init__(self, directory, enable_denoiser, optimize, device):
            print("loading", directory)

        def generate_streaming(self, text, max_len, cfg_value, inference_timesteps):
            for _ in range(max_len if text != "short" else 1):
                print("a patch")
                yield np.zeros(160, np.float32)
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter that has something in place of the PyPI package."""
    folder = tmp_path / "site"
    (folder / "voxcpm-9.0.dist-info").mkdir(parents=True)
    (folder / "voxcpm-9.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: voxcpm\nVersion: 9.0\n"
    )
    (folder / "voxcpm.py").write_text(dedent(STAND_IN))
    return interpreter(tmp_path / "python", f"PYTHONPATH={folder}")


def interpreter(path: Path, settings: str) -> Path:
    path.write_text(f'#!/bin/sh\n{settings} exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_random_weights_are_an_official_directory(tmp_path: Path, version: str) -> None:
    directory = write_checkpoint(tmp_path / "model", version, "tiny")
    assert problems(directory) == []
    official = json.loads(OFFICIAL.read_text())[VERSIONS[version][0]]
    assert set(VoxCPMCheckpoint(directory).vae_tensors) == set(official["audiovae"])
    before = (directory / "model.safetensors").stat().st_mtime_ns
    assert write_checkpoint(directory, version, "tiny") == directory
    assert (directory / "model.safetensors").stat().st_mtime_ns == before, "what is complete is kept"


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_plain_loop_makes_what_the_engine_makes(tmp_path: Path, version: str) -> None:
    checkpoint = VoxCPMCheckpoint(write_checkpoint(tmp_path / "model", version, "tiny"))
    network, wave = load_parts(checkpoint, device="cpu", dtype=torch.float32)
    ids = tuple(checkpoint.tokenizer.encode("the voice engine test."))
    loop = PlainLoop(network, wave, max_length=64, time_dtype=torch.float32)
    loop_made = list(loop.speak(ids, 3, 5))
    engine = VoxCPMEngine(network, wave, slots=2, max_length=64)
    engine.start()
    try:
        job = VoxCPMJob("test", ids, len(ids), seed=3, max_patches=5)
        engine_made = [reply.value.samples async for reply in engine.stream(job)]
    finally:
        engine.stop()
    assert len(loop_made) == len(engine_made) == 5
    np.testing.assert_allclose(np.stack(loop_made), np.stack(engine_made), atol=1e-5)
    assert float(np.std(loop_made)) > 1e-3


def benchmark(tmp_path: Path, **more: Any) -> dict[str, Any]:
    output = tmp_path / "found.json"
    threads = torch.get_num_threads()
    try:
        with suppress(typer.Exit):  # goals are for larger networks
            main(size="tiny", patches=3, rounds=1, threads=1, output=output, **more)
    finally:
        torch.set_num_threads(threads)
    content: dict[str, Any] = json.loads(output.read_text())
    return content


@pytest.mark.slow
def test_benchmark(tmp_path: Path) -> None:
    found = benchmark(tmp_path)
    assert list(found["ratios"]) == [
        f"throughput of {STREAMS} streams over one",
        f"first audio of a newcomer among {COMPANY} over alone",
        "speed of one stream over the plain loop",
    ]
    assert all(ratio["value"] > 0 for ratio in found["ratios"].values())
    (only,) = found["rounds"]
    assert only["together"]["chunks"] == STREAMS * only["alone"]["chunks"] == STREAMS * 3
    assert only["package"] is None


@pytest.mark.slow
def test_benchmark_beside_the_package(tmp_path: Path, python: Path) -> None:
    found = benchmark(tmp_path, package=python)
    assert found["package"]["version"] == "9.0"
    assert found["rounds"][0]["package"]["audio_s"] == pytest.approx(3 * 0.16)
    assert "throughput of 8 streams over the package" in found["ratios"]


def test_the_package_must_make_what_was_asked_for(tmp_path: Path, python: Path) -> None:
    with Package(python, tmp_path, 1) as package:
        assert package.speak("long", 4).chunks == 4
        with pytest.raises(RuntimeError, match="1 chunks instead of 4"):
            package.speak("short", 4)


def test_an_environment_without_the_package(tmp_path: Path) -> None:
    (tmp_path / "voxcpm.py").write_text("raise ImportError('not here')")
    with pytest.raises(RuntimeError, match="has ended"):
        Package(interpreter(tmp_path / "python", f"PYTHONPATH={tmp_path}"), tmp_path, 1)


@pytest.mark.parametrize("wrong", [{"size": "huge"}, {"version": "3"}])
def test_what_there_is_not_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter, match="is not one of"):
        main(output=tmp_path / "found.json", **wrong)


def test_goals() -> None:
    fast, soon = Goal("fast", 3.0), Goal("soon", 2.0, at_most=True)
    assert [fast.met(2.9), fast.met(3.1)] == [False, True]
    assert [soon.met(1.9), soon.met(2.1)] == [True, False]
    assert [str(fast), str(soon)] == ["at least 3", "at most 2"]
