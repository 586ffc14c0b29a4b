"""Files that the user has already."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.core.errors import CheckpointError
from deployments.weights.link import link
from deployments.weights.registry import find_model, model_source

TARGETS = [file.target for file in model_source("indextts2").files if file.required]
OWN = [target for target in TARGETS if "/" not in target]
HUB_CACHE = {
    "models--facebook--w2v-bert-2.0/snapshots/abc": (
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    ),
    "models--amphion--MaskGCT/snapshots/abc": ("semantic_codec/model.safetensors",),
    "models--funasr--campplus/snapshots/abc": ("campplus_cn_common.bin",),
    "models--nvidia--bigvgan_v2_22khz_80band_256x/snapshots/abc": ("config.json", "bigvgan_generator.pt"),
}


def write(folder: Path, names: list[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def in_hub_cache(folder: str = "hf_cache") -> list[str]:
    return [f"{folder}/{place}/{name}" for place, names in HUB_CACHE.items() for name in names]


@pytest.mark.parametrize(
    "names",
    [TARGETS, OWN + in_hub_cache(), [f"checkpoints/{name}" for name in OWN + in_hub_cache()]],
    ids=["our layout", "official checkpoints", "whole repository"],
)
def test_a_folder_is_used_as_it_lies_there(tmp_path: Path, names: list[str]) -> None:
    folder = write(tmp_path / "mine", names)
    linked = link("indextts2", folder, tmp_path / "models")
    assert linked.missing == ()
    assert find_model("indextts2", tmp_path / "models") == linked.directory
    assert (linked.directory / "gpt.pth").resolve().is_relative_to(folder)
    assert sorted(p for p in folder.rglob("*") if p.is_file()) == sorted(folder / name for name in names)
    assert link("indextts2", folder, tmp_path / "models").files == ()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    linked = link("indextts2", write(tmp_path / "mine", OWN), tmp_path / "models")
    assert set(linked.missing) == set(TARGETS) - set(OWN)


@pytest.mark.parametrize("networks", [["pytorch_model.bin"], ["pytorch_model.bin", "model.safetensors"]])
def test_of_alternatives_the_best_is_linked(tmp_path: Path, networks: list[str]) -> None:
    small = ["config.json", "tokenizer.json", "tokenizer_config.json"]
    linked = link("voxcpm-1.5", write(tmp_path / "mine", [*small, *networks]), tmp_path / "models")
    assert linked.files == (*small, networks[-1])
    assert linked.missing == ("audiovae.safetensors or audiovae.pth",)


def test_a_folder_without_any_of_the_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds none of the files that indextts2 lacks"):
        link("indextts2", write(tmp_path / "mine", ["README.md"]), tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_pointer_of_git_lfs_is_not_the_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", OWN)
    (folder / "gpt.pth").write_text("version https://git-lfs/spec/v1\noid sha256:0\n")
    with pytest.raises(CheckpointError, match=r"gpt.pth is a pointer of Git LFS.*git lfs pull"):
        link("indextts2", folder, tmp_path / "models")
