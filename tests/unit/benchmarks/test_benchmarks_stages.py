"""The random checkpoint is one that every stage loads, and the stage benchmark runs on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.random_checkpoint import write_checkpoint
from benchmarks.stage_parts import STAGES, Measurement, Workload, measure
from benchmarks.stages import shares
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.checkpoint_check import problems
from deployments.indextts2.speaker.encoder import VoiceEncoder
from deployments.voices.reference import ReferenceAudio


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("random"), "tiny")


@pytest.mark.slow
def test_it_is_an_indextts2_directory(directory: Path) -> None:
    assert problems(directory) == []


@pytest.mark.slow
def test_it_is_a_function_of_the_seed_and_written_once(directory: Path, tmp_path: Path) -> None:
    read = {name: torch.load(directory / name) for name in ("gpt.pth", "feat1.pt")}
    changed = (directory / "gpt.pth").stat().st_mtime_ns
    write_checkpoint(directory, "tiny")
    assert (directory / "gpt.pth").stat().st_mtime_ns == changed
    again = write_checkpoint(tmp_path / "again", "tiny")
    other = write_checkpoint(tmp_path / "other", "tiny", seed=1)
    assert torch.equal(torch.load(again / "feat1.pt"), read["feat1.pt"])
    assert not torch.equal(torch.load(other / "feat1.pt"), read["feat1.pt"])


def test_a_voice_is_encoded(directory: Path) -> None:
    noise = np.random.default_rng(0).normal(size=22050) * 0.1
    (voice,) = VoiceEncoder.load(IndexTTSCheckpoint(directory)).encode(
        [ReferenceAudio.from_samples(noise, 22050)]
    )
    assert all(np.isfinite(array).all() for array in voice.arrays.values())


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_measured(directory: Path, stage: str) -> None:
    work = Workload(directory, reference_s=0.5, codes=8, euler_steps=2, batches=(1, 2))
    found = measure(stage, work)
    assert {each.stage for each in found} == {stage}
    assert {each.batch for each in found} == {1, 2}
    assert all(each.seconds > 0 for each in found)


def test_shares_count_every_step_of_a_lone_request() -> None:
    found = [
        Measurement("gpt", "prefill", 1, 0.5, 1, None),
        Measurement("gpt", "step", 1, 0.1, 60, None),
        Measurement("gpt", "step", 2, 9.9, 60, None),
        Measurement("s2mel", "euler step", 1, 0.2, 25, None),
    ]
    assert shares(found) == pytest.approx({"gpt": 6.5, "s2mel": 5.0})
