"""Decoding against the golden data: scores, codes and draws of every recorded case (indextts2-front.md 7)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_close import USUAL_PEAK, close
from gpt_reference import decode_as_reference, filtered
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.engine import load_model
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.positions import generation_position
from deployments.indextts2.gpt.scores import PLACEHOLDER, ScoreRules, processed
from deployments.indextts2.sampling import Params

GOLDEN = Path(os.environ.get("VOICEGRAPH_GOLDEN", Path(__file__).parents[1] / "golden")) / "indextts2-front"
CASES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "generation.json").read_text())
WITHOUT_CACHE = [name for name in CASES if name.endswith("_nocache")]
CACHED = [name for name in CASES if name not in WITHOUT_CACHE]
TENSORS = load_file(GOLDEN / "generation.safetensors")
STEPS = sorted({key.rsplit(".", 1)[0] for key in TENSORS if key.endswith(".scores_in")})
DRAWN = [key.removesuffix(".draws") for key in TENSORS if key.endswith(".draws")]


@pytest.fixture(scope="module")
def model() -> SpeechGpt:
    return load_model(IndexTTSCheckpoint(GOLDEN / "ckpt"), device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def prefixes(model: SpeechGpt) -> dict[str, list[Tensor]]:
    """Per text name of the cases the prefixes of its rows."""
    golden = load_file(GOLDEN / "gpt_prefix_logits.safetensors")
    emotion = golden["emovec"][0]
    latents = golden["conds_34"][0, : model.dims.condition_num_latent] - emotion
    texts = {"text1": golden["text1.ids"], "text2": golden["text2.ids"], "batch.text": golden["batch.text"]}
    return {
        name: [model.prefix(latents, emotion, row.tolist()) for row in rows] for name, rows in texts.items()
    }


def params_of(case: dict[str, Any]) -> Params:
    return Params(
        num_beams=case["num_beams"],
        top_k=case.get("top_k", 0),
        top_p=case.get("top_p", 1.0),
        temperature=case.get("temperature", 1.0) if case["do_sample"] else 0.0,
        repetition_penalty=case["repetition_penalty"],
        length_penalty=case.get("length_penalty", 1.0),
        max_codes=case["max_generate_length"],
        typical_mass=case["typical_mass"] if case.get("typical_sampling") else None,
    )


@pytest.mark.parametrize("name", CACHED)
def test_codes(model: SpeechGpt, prefixes: dict[str, list[Tensor]], name: str) -> None:
    case = CASES[name]
    stop = model.dims.stop_mel_token
    rows = prefixes[case["text"]]
    for row, (prefix, expected) in enumerate(zip(rows, case["codes"], strict=True)):
        torch.manual_seed(case.get("manual_seed", 0))
        decoded = decode_as_reference(model, prefix, params_of(case))
        codes = [*decoded.codes, *([stop] if decoded.stopped else [])]
        # Rows of a batch that end early are filled with the stop code.
        assert codes + [stop] * (len(expected) - len(codes)) == expected
        assert decoded.stopped == (stop in expected)
        if "sequence_score" in case:
            score = case["sequence_score"][row]
            assert decoded.score == pytest.approx(score, abs=5e-4 * max(1.0, abs(score) / USUAL_PEAK))


@pytest.mark.parametrize("name", WITHOUT_CACHE)
def test_codes_of_the_other_position_scheme(
    model: SpeechGpt, prefixes: dict[str, list[Tensor]], name: str
) -> None:
    case = CASES[name]
    prefix = prefixes[case["text"]][0]
    decoded = decode_as_reference(model, prefix, params_of(case), position=lambda fed: fed)
    assert list(decoded.codes) == [code for code in case["codes"][0] if code != model.dims.stop_mel_token]


@pytest.mark.parametrize("name", STEPS)
def test_processors(model: SpeechGpt, name: str) -> None:
    params = params_of(CASES[name.split(".", 1)[0]])
    scores, expected = TENSORS[f"{name}.scores_in"], TENSORS[f"{name}.scores_out"]
    common = torch.tensor([PLACEHOLDER, model.dims.start_mel_token]).expand(len(scores), -1)
    seen = torch.cat([TENSORS[f"{name}.generated"], common], dim=1)
    made = processed(scores, seen, ScoreRules.of([params] * len(scores), scores.device), forbidden=None)
    if params.samples:
        made = filtered(made, params)
    assert torch.equal(made.isinf(), expected.isinf())
    close(made[made.isfinite()], expected[expected.isfinite()], 5e-4)


@pytest.mark.parametrize("name", STEPS)
def test_scores_behind_the_recorded_histories(
    model: SpeechGpt, prefixes: dict[str, list[Tensor]], name: str
) -> None:
    case = CASES[name.split(".", 1)[0]]
    expected, histories = TENSORS[f"{name}.scores_in"], TENSORS[f"{name}.generated"]
    prefix = prefixes[case["text"]][0]
    cache = model.new_cache(len(histories), len(prefix) + 1 + histories.shape[1])
    pieces = []
    for slot, history in enumerate(histories.tolist()):
        fed = [model.dims.start_mel_token, *history]
        positions = [generation_position(i) for i in range(len(fed))]
        pieces.append((slot, torch.cat([prefix, model.embed(fed, positions)])))
    hidden = torch.stack([states[-1] for states in model.extend(cache, pieces)])
    scores = model.logits(hidden).float()
    close(scores.log_softmax(-1) if case["num_beams"] > 1 else scores, expected, 1e-4)


@pytest.mark.parametrize("name", DRAWN)
def test_codes_from_recorded_draws(model: SpeechGpt, prefixes: dict[str, list[Tensor]], name: str) -> None:
    case = CASES[name]
    draws = TENSORS[f"{name}.draws"]

    def recorded(totals: Tensor, step: int, count: int) -> list[int]:
        assert draws.shape[-1] == count
        return draws[step].reshape(-1).long().tolist()

    decoded = decode_as_reference(model, prefixes[case["text"]][0], params_of(case), recorded)
    assert list(decoded.codes) == [code for code in case["codes"][0] if code != model.dims.stop_mel_token]
