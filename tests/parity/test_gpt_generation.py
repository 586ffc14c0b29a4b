"""Decoding against the golden data: scores, codes and draws of every recorded case (indextts2-front.md 7)."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.dims import GptDims, dims_from
from deployments.indextts2.gpt.decoders import RowDecoder
from deployments.indextts2.gpt.draws import Codes, Scores, TorchDraws
from deployments.indextts2.gpt.generate import generate
from deployments.indextts2.gpt.model import SpeechGpt, generation_position, load_gpt
from deployments.indextts2.gpt.scores import Rules, prepare, shortlist
from deployments.indextts2.gpt.selection import Selection
from deployments.indextts2.gpt.settings import DecodingSettings
from deployments.weights.tensors import read_tensors

GOLDEN = Path(os.environ.get("VOICEGRAPH_GOLDEN", Path(__file__).parents[1] / "golden")) / "indextts2-front"
CASES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "generation.json").read_text())
WITHOUT_CACHE = [name for name in CASES if name.endswith("_nocache")]
CACHED = [name for name in CASES if name not in WITHOUT_CACHE]
TENSORS = load_file(GOLDEN / "generation.safetensors")
STEPS = sorted({key.rsplit(".", 1)[0] for key in TENSORS if key.endswith(".scores_in")})
DRAWN = [key.removesuffix(".draws") for key in TENSORS if key.endswith(".draws")]


@pytest.fixture(scope="module")
def model() -> SpeechGpt:
    config = yaml.safe_load((GOLDEN / "ckpt" / "config.yaml").read_text())
    path = GOLDEN / "ckpt" / config["gpt_checkpoint"]
    return load_gpt(read_tensors(path), dims_from(GptDims, config["gpt"], "config.yaml"), source=str(path))


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


def settings_of(case: dict[str, Any]) -> DecodingSettings:
    """As the reference runs: the start code is not ruled out."""
    return DecodingSettings(
        do_sample=case["do_sample"],
        num_beams=case["num_beams"],
        top_k=case.get("top_k", 0),
        top_p=case.get("top_p", 1.0),
        temperature=case.get("temperature", 1.0),
        repetition_penalty=case["repetition_penalty"],
        length_penalty=case.get("length_penalty", 1.0),
        max_codes=case["max_generate_length"],
        typical_mass=case["typical_mass"] if case.get("typical_sampling") else None,
        allow_start_code=True,
    )


@pytest.mark.parametrize("name", CACHED)
def test_codes(model: SpeechGpt, prefixes: dict[str, list[Tensor]], name: str) -> None:
    case = CASES[name]
    stop = model.dims.stop_mel_token
    rows = prefixes[case["text"]]
    for row, (prefix, expected) in enumerate(zip(rows, case["codes"], strict=True)):
        torch.manual_seed(case.get("manual_seed", 0))
        outcome = generate(model, prefix, settings_of(case), TorchDraws())
        codes = [*outcome.codes, *([stop] if outcome.stopped else [])]
        # Rows of a batch that end early are filled with the stop code.
        assert codes + [stop] * (len(expected) - len(codes)) == expected
        assert outcome.stopped == (stop in expected)
        if "sequence_score" in case:
            assert outcome.score == pytest.approx(case["sequence_score"][row], abs=5e-4)


@pytest.mark.parametrize("name", WITHOUT_CACHE)
def test_codes_of_the_other_position_scheme(
    model: SpeechGpt, prefixes: dict[str, list[Tensor]], name: str
) -> None:
    case = CASES[name]
    prefix = prefixes[case["text"]][0]
    settings = settings_of(case)
    decoder = RowDecoder(settings, (0,), model.dims.stop_mel_token, model.dims.number_mel_codes, None)
    selection = Selection(model.dims, 1)
    selection.open([0])
    cache = model.new_cache(1, len(prefix) + settings.max_codes)
    hidden = model.extend(cache, [(0, torch.cat([prefix, model.start()]))])[0][-1:]
    while not decoder.finished:
        (choice,) = selection.choose(model.logits(hidden), [decoder])
        if not decoder.finished:
            hidden = model.step(cache, [0], choice.codes, [decoder.steps])
    assert decoder.codes == [code for code in case["codes"][0] if code != model.dims.stop_mel_token]


@pytest.mark.parametrize("name", STEPS)
def test_processors(model: SpeechGpt, name: str) -> None:
    settings = settings_of(CASES[name.split(".", 1)[0]])
    scores, expected = TENSORS[f"{name}.scores_in"], TENSORS[f"{name}.scores_out"]
    rows, vocabulary = scores.shape
    rules = Rules.of([settings] * rows, vocabulary, scores.device)
    if not settings.do_sample:
        rules = replace(rules, width=vocabulary)  # nothing is filtered: compare everything
    selection = Selection(model.dims, rows)
    selection.open(range(rows))
    for row, generated in enumerate(TENSORS[f"{name}.generated"]):
        selection.seen[row, generated] = True
    values, codes = shortlist(scores, selection.seen, rules)
    dense = torch.full_like(scores, -torch.inf).scatter_(1, codes, values)
    assert torch.equal(dense.isinf(), expected.isinf())
    torch.testing.assert_close(dense, expected, atol=5e-4, rtol=0)


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
    rules = Rules.of([settings_of(case)] * len(expected), expected.shape[1], expected.device)
    scores = prepare(model.logits(hidden), rules, model.dims.start_mel_token)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)


class RecordedDraws:
    def __init__(self, draws: Tensor) -> None:
        self.draws = draws.numpy()

    def pick(self, totals: Scores, codes: Codes, *, step: int, count: int, vocabulary: int) -> Codes:
        assert self.draws.shape[-1] == count
        return self.draws[step].reshape(-1).astype(np.int64)


@pytest.mark.parametrize("name", DRAWN)
def test_codes_from_recorded_draws(model: SpeechGpt, prefixes: dict[str, list[Tensor]], name: str) -> None:
    case = CASES[name]
    prefix = prefixes[case["text"]][0]
    outcome = generate(model, prefix, settings_of(case), RecordedDraws(TENSORS[f"{name}.draws"]))
    assert list(outcome.codes) == [code for code in case["codes"][0] if code != model.dims.stop_mel_token]
