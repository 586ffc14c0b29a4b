"""The networks at official size hold exactly the tensors of the official files (on the meta device)."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml

from deployments.indextts2.checkpoint_check import codec_shapes, gpt_shapes
from deployments.indextts2.codec.encoder import SemanticCodec
from deployments.indextts2.dims import CodecDims, ConditionDims, GptDims, dims_from
from deployments.indextts2.speaker.conditioner import PARTS, Conditioner

SPECS = Path(__file__).parents[3] / "specs"
CONFIG = yaml.safe_load((SPECS / "indextts2-config.yaml").read_text())
CODEC = dims_from(CodecDims, CONFIG["semantic_codec"], "semantic_codec")
GPT = dims_from(GptDims, CONFIG["gpt"], "gpt")
SPEAKER = dims_from(ConditionDims, CONFIG["gpt"]["condition_module"], "condition_module")
EMOTION = dims_from(ConditionDims, CONFIG["gpt"]["emo_condition_module"], "emo_condition_module")


def listed(name: str) -> dict[str, tuple[int, ...]]:
    content = json.loads((SPECS / f"indextts2-{name}-keys.json").read_text())
    return {key: tuple(value["shape"]) for key, value in content.items()}


def held(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def test_codec() -> None:
    with torch.device("meta"):
        codec = SemanticCodec(CODEC)
    stored = listed("semantic-codec")
    assert held(codec) == {name: shape for name, shape in stored.items() if not name.startswith("decoder.")}


def test_conditioner() -> None:
    with torch.device("meta"):
        conditioner = Conditioner(GPT, SPEAKER, EMOTION, CODEC.hidden_size)
    stored = {name: shape for name, shape in listed("gpt").items() if name.startswith(PARTS)}
    assert held(conditioner) == {n: s for n, s in stored.items() if not n.endswith("pos_enc.pe")}


def test_shapes_for_verification() -> None:
    assert gpt_shapes(GPT, SPEAKER, EMOTION, CODEC.hidden_size) == listed("gpt")
    assert codec_shapes(CODEC) == listed("semantic-codec")
