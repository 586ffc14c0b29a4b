"""The deployment class without Ray: it finds its files and passes jobs on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from s2mel_golden import GoldenS2Mel
from safetensors.torch import save_file

from deployments.core.errors import CheckpointError
from deployments.core.metrics import Reply
from deployments.indextts2.codec.codebook import CODEBOOK
from deployments.indextts2.s2mel.deployment import S2Mel
from deployments.indextts2.settings import S2MelSettings


@pytest.fixture
def directory(golden_back: Path, tmp_path: Path) -> Path:
    """The files of this stage alone."""
    for name in ("config.yaml", "s2mel.pth"):
        shutil.copy(golden_back / name, tmp_path / name)
    config = yaml.safe_load((golden_back / "config.yaml").read_text())
    hidden = config["s2mel"]["length_regulator"]["in_channels"]
    shapes = {
        "codebook.weight": (GoldenS2Mel.load(golden_back).embedding.codebook.num_embeddings, 8),
        "out_project.bias": (hidden,),
        "out_project.weight_g": (hidden, 1, 1),
        "out_project.weight_v": (hidden, 8, 1),
    }
    tensors = {CODEBOOK + name: torch.randn(shape) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "semantic_codec_model.safetensors")
    return tmp_path


async def started(directory: Path, **settings: Any) -> S2Mel:
    stage = S2Mel.__new__(S2Mel)
    await stage.__init__(str(directory), "cpu", S2MelSettings(**settings))  # type: ignore[misc]
    return stage


async def test_it_serves_a_job(directory: Path, golden_back: Path) -> None:
    golden = GoldenS2Mel.load(golden_back)
    job = golden.job(golden.names[0], steps=2)
    stage = await started(directory, max_rows=2)
    assert await stage.ready()
    reply = await stage.mel(job)
    assert isinstance(reply, Reply)
    assert reply.value is not None
    assert reply.value.shape == (golden.mel_channels, golden.frames(len(job.codes)))
    assert np.isfinite(reply.value).all()
    assert (reply.metrics.finished, reply.metrics.rows) == (1, 2)
    assert reply.metrics.replica


@pytest.mark.parametrize("lost", ["config.yaml", "s2mel.pth", "semantic_codec_model.safetensors"])
async def test_a_missing_file_is_named(directory: Path, lost: str) -> None:
    (directory / lost).unlink()
    with pytest.raises(CheckpointError, match=lost):
        await started(directory)
