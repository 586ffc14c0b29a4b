"""A directory of IndexTTS-2.5: how it is recognised, what it must hold, and what is tolerated in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from tiny_indextts25 import make_tiny_checkpoint

from deployments.core.errors import CheckpointError
from deployments.indextts2.checkpoint import CODEC_25, GRAPH_FILES, VOCABULARY_25, IndexTTSCheckpoint
from deployments.indextts2.checkpoint_check import problems as problems_of
from deployments.indextts2.gpt.engine import load_model
from deployments.indextts2.memory import stage_bytes
from deployments.indextts2.settings import IndexTTSSettings
from deployments.indextts2.traits import STYLE_PROJECTION, TWO, TWO_AND_A_HALF, traits_of
from deployments.weights.convert import convert
from deployments.weights.registry import registry


@pytest.fixture
def own(golden_25: Path, tmp_path: Path) -> Path:
    """What the model's own repository holds, of tiny networks."""
    return Path(shutil.copytree(golden_25 / "checkpoint", tmp_path / "ckpt"))


@pytest.fixture(scope="module")
def tiny(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny25"), golden)


@pytest.fixture
def whole(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "whole"))


def edit(directory: Path, **changes: object) -> None:
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_generations_are_told_by_what_works() -> None:
    assert traits_of(text_tokens=60_509, projects_style=False) is TWO_AND_A_HALF
    assert traits_of(text_tokens=12_000, projects_style=True) is TWO_AND_A_HALF
    assert traits_of(text_tokens=12_000, projects_style=False) is TWO
    assert traits_of(text_tokens=None, projects_style=False) is TWO


def test_the_version_of_the_config_decides_nothing(own: Path, golden_front: Path) -> None:
    edit(own, version=2.0)
    assert IndexTTSCheckpoint(own).traits is TWO_AND_A_HALF
    first = Path(shutil.copytree(golden_front / "ckpt", own.parent / "first"))
    edit(first, version=2.5)
    assert IndexTTSCheckpoint(first).traits is TWO


def test_a_tensor_tells_it_where_the_vocabulary_does_not(own: Path) -> None:
    gpt = yaml.safe_load((own / "config.yaml").read_text())["gpt"]
    edit(own, gpt={**gpt, "number_text_tokens": 500})
    assert IndexTTSCheckpoint(own).traits is TWO_AND_A_HALF
    (own / "gpt.pth").unlink()
    assert IndexTTSCheckpoint(own).traits is TWO
    edit(own, gpt=gpt)
    assert IndexTTSCheckpoint(own).traits is TWO_AND_A_HALF


def test_paths_of_another_machine_are_looked_for_here(own: Path) -> None:
    edit(
        own,
        gpt_checkpoint="/data/exp/ckpts/gpt.pth",
        s2mel_checkpoint="/data/exp/s2mel_step_9.pth",
        w2v_stat=None,
        emo_matrix="matrices/feat2.pt",
        vocoder={"name": "/data/bigvgan_generator.pt"},
        dataset={"bpe_model": "/data/bpe.model"},
    )
    checkpoint = IndexTTSCheckpoint(own)
    for file, name in (
        ("gpt", "gpt.pth"),
        ("s2mel", "s2mel.pth"),
        ("w2v_stat", "wav2vec2bert_stats.pt"),
        ("emo_matrix", "feat2.pt"),
        ("bpe", VOCABULARY_25),
        ("semantic_codec", CODEC_25),
    ):
        assert checkpoint.path(file) == own / name


def test_one_error_names_all_missing_files_and_the_command(own: Path) -> None:
    (own / CODEC_25).unlink(missing_ok=True)
    (own / VOCABULARY_25).unlink(missing_ok=True)
    with pytest.raises(CheckpointError) as caught:
        IndexTTSCheckpoint(own).require(*GRAPH_FILES)
    for name in (CODEC_25, VOCABULARY_25, "campplus_cn_common.bin", "models pull indextts2.5"):
        assert name in str(caught.value)
    assert "MaskGCT" not in str(caught.value)
    assert "semantic_codec_model" not in str(caught.value)


def test_a_missing_file_is_wanted_here_and_not_on_the_machine_of_the_author(own: Path) -> None:
    edit(own, gpt_checkpoint="/data/exp/ckpts/gpt.pth")
    (own / "gpt.pth").unlink()
    assert IndexTTSCheckpoint(own).missing("gpt") == ["gpt.pth"]
    with pytest.raises(CheckpointError, match=r"lacks gpt\.pth\. Run: "):
        IndexTTSCheckpoint(own).path("gpt")


@pytest.mark.parametrize("wrapped", [False, True])
def test_names_of_training_are_taken_off(own: Path, wrapped: bool) -> None:
    bare = IndexTTSCheckpoint(own).tensors("gpt")
    sharded = {name.replace("gpt.h.", "_fsdp_wrapped_module.gpt.h."): value for name, value in bare.items()}
    content = {"model": sharded, "optimizer": {"m": torch.zeros(2)}} if wrapped else sharded
    torch.save(content, own / "trained.pth")
    edit(own, gpt_checkpoint="trained.pth")
    checkpoint = IndexTTSCheckpoint(own)
    assert checkpoint.traits is TWO_AND_A_HALF
    assert checkpoint.tensors("gpt").keys() == bare.keys()
    load_model(checkpoint, device="cpu", dtype=torch.float32)


def test_the_state_of_the_optimiser_is_left_out(own: Path) -> None:
    tensors = torch.load(own / CODEC_25, weights_only=True)["model"]
    torch.save({"model": tensors, "optimizer": {"state": {"up": torch.zeros(3)}}, "step": 7}, own / "x.pth")
    (own / "x.pth").replace(own / CODEC_25)
    assert IndexTTSCheckpoint(own).tensors("semantic_codec").keys() == tensors.keys()


@pytest.mark.parametrize(("file", "extra"), [("gpt.pth", "speed_emb.weight"), (CODEC_25, "sideways.weight")])
def test_a_tensor_too_many_or_too_few_is_named(whole: Path, file: str, extra: str) -> None:
    content = torch.load(whole / file, weights_only=True)
    tensors = content.get("model", content)
    lost = next(name for name in tensors if name.endswith(".bias"))
    del tensors[lost]
    tensors[extra] = torch.zeros(2, 2)
    torch.save(content, whole / "x.pth")
    (whole / "x.pth").replace(whole / file)
    found = problems_of(whole)
    assert f"{file}: 1 tensors missing: {lost}" in found
    assert f"{file}: 1 tensors unknown: {extra}" in found


def test_a_missing_file_is_named_with_its_command(whole: Path) -> None:
    (whole / CODEC_25).unlink()
    (problem,) = problems_of(whole)
    assert problem.startswith(f"{CODEC_25} is missing. Run: ")
    assert problem.endswith("voicegraph models pull indextts2.5")


@pytest.mark.slow
def test_a_whole_directory_and_its_conversion_pass(whole: Path) -> None:
    assert problems_of(whole) == []
    assert "codec.safetensors" in {path.name for path in convert(whole)}
    assert IndexTTSCheckpoint(whole).path("gpt").suffix == ".safetensors"
    assert IndexTTSCheckpoint(whole).traits is TWO_AND_A_HALF
    assert problems_of(whole) == []


def test_language_rows_and_speaker_rows(own: Path) -> None:
    checkpoint = IndexTTSCheckpoint(own)
    tensors = checkpoint.tensors("gpt")
    assert STYLE_PROJECTION in tensors
    assert tensors["lang_embedding.weight"].shape[0] == checkpoint.traits.language_rows
    assert checkpoint.gpt_dims.condition_num_latent == checkpoint.conditioner_dims.rows == 1
    assert checkpoint.conditioner_dims.speaker is None  # whatever config.yaml says of it


def test_memory_counts_the_codec_once_and_where_it_runs(tiny: Path) -> None:
    sizes = stage_bytes(IndexTTSSettings(), IndexTTSCheckpoint(tiny))
    assert set(sizes) == {"speaker", "gpt", "s2mel", "vocoder"}
    checkpoint = IndexTTSCheckpoint(tiny)
    assert "semantic_codec" not in checkpoint.files("speaker_encoder")
    assert "semantic_codec" in checkpoint.files("s2mel")


def test_what_is_pulled_is_what_the_graph_needs(tiny: Path) -> None:
    """The list of files to pull and those that the loader looks for are written in two places."""
    source = registry()[TWO_AND_A_HALF.source]
    required = {file.target for file in source.files if file.required}
    placed = {path.relative_to(tiny).as_posix() for path in tiny.rglob("*") if path.is_file()}
    assert required == {path for path in placed if not path.startswith("voices/")}
