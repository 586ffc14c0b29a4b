"""Files of VoxCPM: what a directory must hold, how large it will be, and where it can be had."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from deployments.core.errors import CheckpointError
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.checkpoint_check import model_shapes, problems, vae_shapes
from deployments.voxcpm.dims import dims_from
from deployments.voxcpm.memory import stage_bytes
from deployments.voxcpm.pipeline import Pipeline
from deployments.voxcpm.settings import VoxCPMSettings
from deployments.weights.registry import registry

LISTED = json.loads((Path(__file__).parents[2] / "specs/voxcpm-keys.json").read_text())


@pytest.fixture
def copy(tiny_2: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_2, tmp_path / "copy")


def test_sound_directories_have_no_problems(tiny_15: Path, tiny_2: Path) -> None:
    assert problems(tiny_15) == []
    assert problems(tiny_2) == []


def test_other_formats_are_the_same_model(copy: Path) -> None:
    """Pickled networks, and an AudioVAE as safetensors whose weight norms were folded."""
    torch.save({"state_dict": load_file(copy / "model.safetensors")}, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    vae = dict(VoxCPMCheckpoint(copy).vae_tensors)
    for name in [name for name in vae if name.endswith(".weight_v")]:
        direction, gain = vae.pop(name), vae.pop(name.replace("_v", "_g"))
        folded = direction * gain / direction.flatten(1).norm(dim=1).view_as(gain)
        vae[name.removesuffix("_v")] = folded.contiguous()
    save_file(vae, copy / "audiovae.safetensors")
    (copy / "audiovae.pth").unlink()
    assert problems(copy) == []


def test_what_is_wrong_is_named(copy: Path, tmp_path: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["stop_head.weight"] = tensors["stop_head.weight"][:1].contiguous()
    del tensors["fsq_layer.in_proj.bias"]
    save_file(tensors, copy / "model.safetensors")
    assert problems(copy) == [
        "model.safetensors: 1 tensors missing: fsq_layer.in_proj.bias",
        "model.safetensors: 1 tensors of another shape: stop_head.weight (1, 64) instead of (2, 64)",
    ]
    (copy / "audiovae.pth").unlink()
    assert problems(copy) == ["audiovae.safetensors or audiovae.pth is missing"]
    assert "config.json" in problems(tmp_path)[0]


@pytest.mark.parametrize("version", ["voxcpm-0.5b", "voxcpm-1.5", "voxcpm2"])
def test_shapes_are_those_of_the_published_files(version: str) -> None:
    listed = LISTED[version]
    dims = dims_from(listed["config"])
    stored = {name: tuple(shape) for name, shape in listed["audiovae"].items()}
    assert model_shapes(dims) == {name: tuple(shape) for name, shape in listed["model"].items()}
    assert vae_shapes(dims) == {name: shape for name, shape in stored.items() if ".fc_logvar." not in name}


def test_missing_files_are_said_before_the_start(copy: Path) -> None:
    settings = VoxCPMSettings(checkpoint=f"{copy}/")
    Pipeline.check_files(settings)
    (copy / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Pipeline.check_files(settings)


def test_device_memory_follows_the_settings(tiny_2: Path) -> None:
    files = VoxCPMCheckpoint(tiny_2)

    def engine_bytes(**engine: object) -> int:
        return stage_bytes(VoxCPMSettings(engine=engine), files)["engine"]  # type: ignore[arg-type]

    dims = files.dims
    per_position = 2 * sum(
        tower.layers * tower.kv_heads * tower.head_dim for tower in (dims.base, dims.residual)
    )
    more = engine_bytes(slots=8, max_length=1024) - engine_bytes(slots=4, max_length=1024)
    assert more == 4 * 4 * 1024 * per_position
    assert engine_bytes(dtype="bfloat16") < engine_bytes(dtype="float32")
    names = Pipeline.device_bytes("vox", VoxCPMSettings(checkpoint=f"{tiny_2}/"))
    assert list(names) == ["vox-encoder", "vox-engine"]


def test_three_versions_can_be_pulled() -> None:
    known = registry()
    for name in ("voxcpm-0.5b", "voxcpm-1.5", "voxcpm-2"):
        source = known[name]
        assert source.licence == "Apache-2.0"
        assert len({origin.repo for file in source.files for origin in file.origins}) == 2  # type: ignore[union-attr]
