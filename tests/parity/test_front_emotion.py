"""Emotion control against the golden data (indextts2-front.md 9)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_close import close
from safetensors.torch import load_file

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.emotion import (
    EMOTIONS,
    EmotionMatrix,
    normalize_weights,
    scale_weights,
)
from deployments.indextts2.speaker.emotion_classifier import (
    END_OF_THINK,
    TEMPLATE_ARGUMENTS,
    after_thinking,
    messages,
    parse_scores,
)

LIMIT = 1e-5


@pytest.fixture(scope="module")
def cases(golden_front: Path) -> dict[str, Any]:
    return json.loads((golden_front / "emotion.json").read_text())


@pytest.fixture(scope="module")
def qwen(golden_front: Path) -> dict[str, Any]:
    return json.loads((golden_front / "qwen_emotion.json").read_text())


def test_normalize(cases: dict[str, Any]) -> None:
    for case in cases["normalize_emo_vec"]:
        found = normalize_weights(case["vector"], apply_bias=case["apply_bias"])
        assert found == pytest.approx(case["out"], abs=1e-12)


def test_alpha_scaling(cases: dict[str, Any]) -> None:
    for case in cases["alpha_scaling"]:
        assert scale_weights(case["vector"], case["emo_alpha"]) == case["out"]


def test_matrix(golden_front: Path, cases: dict[str, Any]) -> None:
    checkpoint = IndexTTSCheckpoint(golden_front / "ckpt")
    matrix = EmotionMatrix(
        checkpoint.tensor("spk_matrix").numpy(),
        checkpoint.tensor("emo_matrix").numpy(),
        checkpoint.emotion_rows,
    )
    golden = load_file(golden_front / "emotion.safetensors")
    style, audio = golden["style"][0].numpy(), golden["audio_emovec"][0].numpy()
    for case in cases["merge"]:
        # A case with other rows than the nearest shows a random choice.
        rows = case["row_index_per_emotion"]
        found = torch.from_numpy(matrix.vector(case["vector"], rows))[None]
        close(found, golden[f"case{case['case']}.emovec_mat"], LIMIT)
        mixed = torch.from_numpy(matrix.mix(case["vector"], rows, audio))[None]
        close(mixed, golden[f"case{case['case']}.emovec"], LIMIT)
    nearest = [case["row_index_per_emotion"] for case in cases["merge"] if not case.get("use_random")]
    assert nearest
    assert all(rows == matrix.nearest_rows(style) for rows in nearest)


def test_qwen_chat(qwen: dict[str, Any]) -> None:
    assert messages("x") == qwen["messages"]
    assert qwen["template_kwargs"] == {"tokenize": False, **TEMPLATE_ARGUMENTS}


def test_qwen_answers(qwen: dict[str, Any]) -> None:
    for case in qwen["cases"]:
        if "error" in case:
            with pytest.raises(ValueError, match=r"."):
                parse_scores(case["text"], case["model_output"])
            continue
        scores = parse_scores(case["text"], case["model_output"])
        assert dict(zip(EMOTIONS, scores, strict=True)) == case["scores"], case
        assert scores == case["vector"]


def test_qwen_thinking(qwen: dict[str, Any]) -> None:
    assert qwen["think_token_id"] == END_OF_THINK
    for case in qwen["think"]:
        ids = case["output_ids"]
        assert after_thinking(ids) == ids[len(ids) - case["kept"] :]
