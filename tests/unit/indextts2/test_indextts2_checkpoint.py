"""The IndexTTS2 directory: resolution of names, missing files, dims, conversion, verification."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from deployments.core.errors import CheckpointError
from deployments.indextts2.checkpoint import STAGE_FILES, IndexTTSCheckpoint
from deployments.indextts2.checkpoint_check import problems as problems_of
from deployments.weights.convert import convert, convert_file
from deployments.weights.tensors import load_strict, read_tensors


@pytest.fixture
def front(golden_front: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(golden_front / "ckpt", tmp_path / "ckpt"))


@pytest.fixture
def whole(front: Path, golden_back: Path) -> Path:
    """All files of both halves, laid out like the official directory."""
    (front / "hf_cache" / "bigvgan").mkdir(parents=True)
    shutil.copy(golden_back / "s2mel.pth", front)
    shutil.copy(golden_back / "campplus_cn_common.bin", front / "hf_cache")
    for name in ("config.json", "bigvgan_generator.pt"):
        shutil.copy(golden_back / name, front / "hf_cache" / "bigvgan")
    return front


def edit(directory: Path, **changes: object) -> None:
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_back_directory_resolves_without_its_own_rules(golden_back: Path) -> None:
    checkpoint = IndexTTSCheckpoint(golden_back)
    assert checkpoint.path("campplus") == golden_back / "campplus_cn_common.bin"
    assert checkpoint.path("vocoder").resolve() == (golden_back / "bigvgan_generator.pt").resolve()
    assert checkpoint.path("vocoder_config").resolve() == (golden_back / "config.json").resolve()
    checkpoint.require("vocoder")
    with pytest.raises(CheckpointError, match=r"no section gpt\.condition_module"):
        _ = checkpoint.section("gpt", "condition_module")
    with pytest.raises(CheckpointError, match=r"config\.yaml, gpt"):
        _ = checkpoint.gpt_dims


def test_official_layout(whole: Path) -> None:
    checkpoint = IndexTTSCheckpoint(whole)
    assert checkpoint.path("vocoder") == whole / "hf_cache/bigvgan/bigvgan_generator.pt"
    assert checkpoint.path("w2v_bert") == whole / "hf_cache/w2v-bert-2.0"
    checkpoint.require(*(stage for stage in STAGE_FILES if stage != "emotion_text"))
    assert checkpoint.missing("emotion_text") == ["qwen0.6bemo4-merge/config.json"]


def test_the_vocoder_is_the_one_of_the_config_or_the_one_asked_for(whole: Path) -> None:
    with pytest.raises(CheckpointError, match=r"istft/config\.json, istft/model\.safetensors"):
        IndexTTSCheckpoint(whole, vocoder="istft").require("vocoder")
    for folder in ("istft", "own"):
        (whole / folder).mkdir()
        for name in ("config.json", "model.safetensors"):
            (whole / folder / name).touch()
    assert IndexTTSCheckpoint(whole, vocoder="istft").path("vocoder") == whole / "istft/model.safetensors"
    edit(whole, vocoder={"type": "istft", "name": "own"})
    assert IndexTTSCheckpoint(whole).path("vocoder") == whole / "own/model.safetensors"
    assert IndexTTSCheckpoint(whole, vocoder="bigvgan").path("vocoder").name == "bigvgan_generator.pt"
    with pytest.raises(CheckpointError, match="vocoder type 'own' is not one of bigvgan, istft"):
        IndexTTSCheckpoint(whole, vocoder="own")


def test_one_error_names_all_missing_files_and_the_command(front: Path) -> None:
    (front / "gpt.pth").unlink()
    (front / "hf_cache/w2v-bert-2.0/model.safetensors").unlink()
    with pytest.raises(CheckpointError) as caught:
        IndexTTSCheckpoint(front).require("speaker_encoder", "s2mel", "vocoder")
    for name in (
        "gpt.pth",
        "hf_cache/w2v-bert-2.0/model.safetensors",
        "hf_cache/campplus_cn_common.bin",
        "s2mel.pth",
        "hf_cache/bigvgan/config.json",
        "hf_cache/bigvgan/bigvgan_generator.pt",
        "voicegraph models pull indextts2",
    ):
        assert name in str(caught.value)


def test_missing_or_damaged_config(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"lacks config\.yaml\. Run: \S*voicegraph models pull indextts2"
    ):
        IndexTTSCheckpoint(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        IndexTTSCheckpoint(tmp_path)
    (tmp_path / "config.yaml").write_text("- a")
    with pytest.raises(CheckpointError, match="a mapping is expected"):
        IndexTTSCheckpoint(tmp_path)


def test_names_come_from_the_config(front: Path) -> None:
    (front / "gpt.pth").rename(front / "other.pth")
    edit(front, gpt_checkpoint="other.pth", w2v_stat="/home/author/wav2vec2bert_stats.pt")
    checkpoint = IndexTTSCheckpoint(front)
    assert checkpoint.path("gpt") == front / "other.pth"
    assert checkpoint.path("w2v_stat") == front / "wav2vec2bert_stats.pt"


def test_semantic_layer(front: Path) -> None:
    assert IndexTTSCheckpoint(front).semantic_layer == 17
    edit(front, nano={"semantic_layer": 9})
    assert IndexTTSCheckpoint(front).semantic_layer == 9
    edit(front, semantic_layer=0)
    with pytest.raises(CheckpointError, match="semantic_layer"):
        _ = IndexTTSCheckpoint(front).semantic_layer


def test_wrapped_state_dict_reads_like_a_bare_one(front: Path) -> None:
    bare = IndexTTSCheckpoint(front).tensors("gpt")
    torch.save({"model": torch.load(front / "gpt.pth", weights_only=True)}, front / "wrapped.pth")
    edit(front, gpt_checkpoint="wrapped.pth")
    assert IndexTTSCheckpoint(front).tensors("gpt").keys() == bare.keys()


def test_a_file_is_read_once(front: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path) -> dict[str, torch.Tensor]:
        read.append(path)
        return read_tensors(path)

    monkeypatch.setattr("deployments.weights.tensors.read_tensors", counted)
    checkpoint = IndexTTSCheckpoint(front)
    assert checkpoint.tensors("w2v_stat") is checkpoint.tensors("w2v_stat")
    assert checkpoint.tensor("spk_matrix").shape[1] == checkpoint.style_width
    with pytest.raises(CheckpointError, match="no tensor 'x'"):
        checkpoint.tensor("spk_matrix", "x")
    assert len(read) == 2


@pytest.mark.slow
def test_conversion_is_equal_preferred_and_given_up_when_older(whole: Path) -> None:
    before = {
        name: dict(IndexTTSCheckpoint(whole).tensors(name))
        for name in ("gpt", "s2mel", "campplus", "vocoder")
    }
    written = convert(whole)
    assert sorted(path.name for path in written) == [
        "bigvgan_generator.safetensors",
        "campplus_cn_common.safetensors",
        "gpt.safetensors",
        "s2mel.safetensors",
        "wav2vec2bert_stats.safetensors",
    ]
    checkpoint = IndexTTSCheckpoint(whole)
    for name, tensors in before.items():
        assert checkpoint.path(name).suffix == ".safetensors"
        after = checkpoint.tensors(name)
        assert after.keys() == tensors.keys()
        assert all(torch.equal(after[key], value) for key, value in tensors.items())
    assert convert(whole) == []
    newer = (whole / "gpt.safetensors").stat().st_mtime + 10
    os.utime(whole / "gpt.pth", (newer, newer))
    assert IndexTTSCheckpoint(whole).path("gpt") == whole / "gpt.pth"
    (whole / "gpt.pth").unlink()
    assert IndexTTSCheckpoint(whole).path("gpt") == whole / "gpt.safetensors"


def test_conversion_of_shared_and_strided_tensors(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": base, "b": base, "c": {"t": base.T}, "n": torch.tensor(3)}, tmp_path / "x.pt")
    written = load_file(convert_file(tmp_path / "x.pt"))
    assert torch.equal(written["b"], base)
    assert torch.equal(written["c.t"], base.T)
    assert written["n"] == 3


@pytest.mark.slow
def test_verify_accepts_a_whole_directory_and_its_conversion(whole: Path) -> None:
    assert problems_of(whole) == []
    convert(whole)
    assert problems_of(whole) == []


def test_verify_names_what_is_wrong(whole: Path) -> None:
    tensors = torch.load(whole / "gpt.pth", weights_only=True)
    del tensors["mel_head.bias"]
    tensors["extra"] = torch.zeros(1)
    tensors["final_norm.weight"] = torch.zeros(3)
    torch.save(tensors, whole / "gpt.pth")
    save_file({"x": torch.zeros(1)}, whole / "hf_cache/semantic_codec_model.safetensors")
    torch.save(torch.zeros(2, 192), whole / "feat1.pt")
    (whole / "s2mel.pth").write_bytes(b"not weights")
    found = problems_of(whole)
    assert "gpt.pth: 1 tensors missing: mel_head.bias" in found
    assert "gpt.pth: 1 tensors unknown: extra" in found
    assert any("final_norm.weight (3,) instead of" in problem for problem in found)
    assert any(problem.startswith("semantic_codec_model.safetensors:") for problem in found)
    assert any(problem.startswith("feat1.pt: 1 tensors of another shape") for problem in found)
    assert any("s2mel.pth: cannot be read as weights" in problem for problem in found)


def test_verify_of_an_incomplete_directory(front: Path, tmp_path: Path) -> None:
    found = problems_of(front)
    assert any(problem.startswith("s2mel.pth is missing") for problem in found)
    assert "lacks config.yaml" in problems_of(tmp_path / "none")[0]


def test_strict_loading_names_tensors() -> None:
    module = torch.nn.Linear(2, 2)
    with pytest.raises(
        CheckpointError, match=r"file: 1 tensors missing: bias; 1 .* part of the model: other"
    ):
        load_strict(module, {"weight": torch.zeros(2, 2), "other": torch.zeros(1)}, source="file")
    with pytest.raises(CheckpointError, match=r"weight \(2, 3\) instead of \(2, 2\)"):
        load_strict(module, {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, source="file")


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk"])
def test_damaged_weights_are_a_checkpoint_error(tmp_path: Path, content: bytes) -> None:
    for name in ("a.pth", "b.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_tensors(tmp_path / name)


def test_languages_are_those_that_the_config_lists(front: Path) -> None:
    assert IndexTTSCheckpoint(front).languages is None  # as published: the vocabulary tells
    edit(front, languages=["en"])
    assert IndexTTSCheckpoint(front).languages == ("en",)
    for wrong in ("en", [], [1]):
        edit(front, languages=wrong)
        with pytest.raises(CheckpointError, match="languages must be a list of language codes"):
            _ = IndexTTSCheckpoint(front).languages
