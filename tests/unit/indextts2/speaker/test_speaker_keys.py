"""The networks at official size hold exactly the tensors of the official files (on the meta device)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.checkpoint_check import codec_shapes, gpt_shapes
from deployments.indextts2.codec.encoder import SemanticCodec
from deployments.indextts2.gpt.model import PARTS as GPT_PARTS
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.speaker.conditioner import PARTS, new_conditioner
from deployments.indextts2.traits import TWO, TWO_AND_A_HALF, Traits

SPECS = Path(__file__).parents[3] / "specs"
CODECS = {TWO: "indextts2-semantic-codec", TWO_AND_A_HALF: "indextts2.5-codec"}
BOTH = pytest.mark.parametrize("traits", [TWO, TWO_AND_A_HALF], ids=lambda traits: traits.source)


def official(traits: Traits, directory: Path) -> IndexTTSCheckpoint:
    """A directory of which there is only the config."""
    shutil.copy(SPECS / f"{traits.source}-config.yaml", directory / "config.yaml")
    return IndexTTSCheckpoint(directory)


def listed(name: str) -> dict[str, tuple[int, ...]]:
    content = json.loads((SPECS / f"{name}-keys.json").read_text())
    return {key: tuple(value["shape"]) for key, value in content.items()}


def held(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def test_codec(tmp_path: Path) -> None:
    with torch.device("meta"):
        codec = SemanticCodec(official(TWO, tmp_path).codec_dims)
    stored = listed("indextts2-semantic-codec")
    assert held(codec) == {name: shape for name, shape in stored.items() if not name.startswith("decoder.")}


@BOTH
def test_conditioner(traits: Traits, tmp_path: Path) -> None:
    with torch.device("meta"):
        conditioner = new_conditioner(official(traits, tmp_path).conditioner_dims)
    stored = {name: shape for name, shape in listed(f"{traits.source}-gpt").items() if name.startswith(PARTS)}
    assert held(conditioner) == {n: s for n, s in stored.items() if not n.endswith("pos_enc.pe")}


@BOTH
def test_gpt(traits: Traits, tmp_path: Path) -> None:
    with torch.device("meta"):
        gpt = SpeechGpt(official(traits, tmp_path).gpt_dims)
    stored = listed(f"{traits.source}-gpt")
    assert held(gpt) == {name: shape for name, shape in stored.items() if name.startswith(GPT_PARTS)}
    rest = {name for name in stored if not name.startswith((*GPT_PARTS, *PARTS))}
    assert rest == {"text_head.weight", "text_head.bias"}  # of training


@BOTH
def test_shapes_for_verification(traits: Traits, tmp_path: Path) -> None:
    checkpoint = official(traits, tmp_path)
    assert checkpoint.traits is traits
    assert gpt_shapes(checkpoint.gpt_dims, checkpoint.conditioner_dims) == listed(f"{traits.source}-gpt")
    codec = codec_shapes(checkpoint.codec_dims, steps_per_code=traits.steps_per_code)
    assert codec == listed(CODECS[traits])
