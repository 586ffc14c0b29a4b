"""Directories as they are published: either kind of file, strict names, errors that say what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from deployments.core.errors import CheckpointError
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint

TINY = Path(__file__).parents[2] / "golden/voxcpm/v2/model"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def load(directory: Path) -> None:
    VoxCPMCheckpoint(directory).network(device="cpu", dtype=torch.float32)


@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_holds_the_same(directory: Path, nested: bool) -> None:
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    torch.save({"state_dict": tensors} if nested else tensors, directory / "pytorch_model.bin")
    found = VoxCPMCheckpoint(directory).model_tensors
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    load(directory)


def test_safetensors_come_first(directory: Path) -> None:
    (directory / "pytorch_model.bin").write_bytes(b"not a checkpoint")
    vae = VoxCPMCheckpoint(directory).vae_tensors
    save_file({name: value + 1 for name, value in vae.items()}, directory / "audiovae.safetensors")
    load(directory)
    name = "decoder.model.1.bias"
    torch.testing.assert_close(VoxCPMCheckpoint(directory).vae_tensors[name], vae[name] + 1)


def test_names_of_the_vae_have_no_prefix(directory: Path) -> None:
    tensors = VoxCPMCheckpoint(directory).vae_tensors
    assert {name.split(".")[0] for name in tensors} == {"encoder", "decoder"}
    assert "decoder.model.1.weight_g" in tensors


def test_code_in_a_pickle_is_not_run(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    torch.save({"weight": Path("x")}, directory / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load(directory)


def test_tensors_that_do_not_fit_are_named(directory: Path) -> None:
    path = directory / "model.safetensors"
    tensors = load_file(path)
    del tensors["stop_head.weight"]
    tensors["rotary.inv_freq"] = torch.zeros(2)
    tensors["enc_to_lm_proj.bias"] = torch.zeros(3)
    save_file(tensors, path)
    with pytest.raises(CheckpointError) as raised:
        load(directory)
    text = str(raised.value)
    assert str(path) in text
    assert "1 tensors missing: stop_head.weight" in text
    assert "not part of the model: rotary.inv_freq" in text
    assert "enc_to_lm_proj.bias (3,) instead of (64,)" in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("config.json", "lacks config.json"),
        ("model.safetensors", "lacks model.safetensors or pytorch_model.bin"),
    ],
)
def test_a_missing_file_is_named_with_what_to_do(directory: Path, name: str, said: str) -> None:
    (directory / name).unlink()
    with pytest.raises(CheckpointError, match=f"{said}.*models pull voxcpm-1.5"):
        load(directory)


def test_all_that_is_missing(directory: Path) -> None:
    for name in ("audiovae.pth", "tokenizer.json"):
        (directory / name).unlink()
    missing = ["audiovae.safetensors or audiovae.pth", "tokenizer.json"]
    assert VoxCPMCheckpoint(directory).missing() == missing


def test_a_config_that_is_no_json(directory: Path) -> None:
    (directory / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(directory)


def test_a_tokenizer_with_more_ids_than_the_model(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    config["lm_config"]["vocab_size"] = 100
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="the model knows 0 to 99"):
        _ = VoxCPMCheckpoint(directory).tokenizer


def test_a_damaged_tokenizer(directory: Path) -> None:
    (directory / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be read as a tokenizer"):
        _ = VoxCPMCheckpoint(directory).tokenizer
