"""IndexTTS-2.5: prefix, logits and codes of the GPT against the golden data (indextts2.5-delta.md 4)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_close import close
from gpt_reference import decode_as_reference
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.engine import load_model
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.positions import POSITIONS
from deployments.indextts2.gpt.scores import PLACEHOLDER
from deployments.indextts2.gpt.selection import Selection
from deployments.indextts2.sampling import Params

GOLDEN = Path(os.environ.get("VOICEGRAPH_GOLDEN", Path(__file__).parents[1] / "golden")) / "indextts2.5"
GENERATION: dict[str, Any] = json.loads((GOLDEN / "generation.json").read_text())
# What is drawn depends on torch's generator and on the last bits of its softmax.
RUNS = [name for name, run in GENERATION["runs"].items() if not run["seeded"]]
SCHEMES = {"published": "logits_cached_positions", "trained": "logits_contiguous_positions"}
PREFIX, LOGITS = 1e-5, 1e-4


@pytest.fixture(scope="module")
def model() -> SpeechGpt:
    return load_model(IndexTTSCheckpoint(GOLDEN / "checkpoint"), device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def prefixes() -> dict[str, Tensor]:
    return load_file(GOLDEN / "prefix.safetensors")


@pytest.fixture(scope="module")
def forced() -> dict[str, Tensor]:
    return load_file(GOLDEN / "teacher_forced.safetensors")


def made(model: SpeechGpt, rows: Tensor, ids: Tensor, language: Tensor) -> Tensor:
    """rows (3,D): with the emotion, and with the two rows that the model makes itself."""
    silent = torch.zeros(model.dims.model_dim)
    return model.prefix(rows[: model.dims.condition_num_latent], silent, ids.tolist(), int(language))


def same_prefix(prefix: Tensor, expected: Tensor, mask: Tensor) -> None:
    """The reference pads on the left, and its mask has the start code behind the prefix."""
    padding = len(mask) - int(mask.sum())
    assert padding == len(expected) - len(prefix)
    assert not mask[:padding].any()
    assert not expected[:padding].any()
    close(prefix, expected[padding:], PREFIX)


def test_prefix(model: SpeechGpt, prefixes: dict[str, Tensor]) -> None:
    given = (prefixes["in.cond_rows"][0], prefixes["in.text_ids"][0], prefixes["in.lang"][0])
    same_prefix(made(model, *given), prefixes["inputs_embeds"][0], prefixes["attention_mask"][0])


def test_prefixes_of_a_batch(model: SpeechGpt, prefixes: dict[str, Tensor]) -> None:
    fields = ("in.cond_rows", "in.text_ids", "in.lang", "inputs_embeds", "attention_mask")
    for *given, expected, mask in zip(*(prefixes[f"batch.{name}"] for name in fields), strict=True):
        same_prefix(made(model, *given), expected, mask)


def test_codes_that_are_penalised_from_the_start(model: SpeechGpt, prefixes: dict[str, Tensor]) -> None:
    selection = Selection(model.dims, 1)
    selection.open([0])
    seen = set(selection.history.seen(torch.tensor([0]), steps=0)[0].tolist())
    assert seen == set(prefixes["input_ids"].flatten().tolist()) == {PLACEHOLDER, model.dims.start_mel_token}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_teacher_forced_logits(
    model: SpeechGpt, prefixes: dict[str, Tensor], forced: dict[str, Tensor], scheme: str
) -> None:
    name = SCHEMES[scheme]
    prefix = made(model, prefixes["in.cond_rows"][0], prefixes["in.text_ids"][0], prefixes["in.lang"][0])
    padding = forced["in.inputs_embeds"].shape[1] - len(prefix)
    close(prefix, forced["in.inputs_embeds"][0, padding:], PREFIX)
    fed = [model.dims.start_mel_token, *forced["in.codes"][0].tolist()]
    positions = [POSITIONS[scheme](i) for i in range(len(fed))]
    cache = model.new_cache(1, len(prefix) + len(fed))
    hidden = model.extend(cache, [(0, torch.cat([prefix, model.embed(fed, positions)]))])[0]
    logits = model.logits(hidden[len(prefix) :])
    close(logits[:, forced["logit_columns"]], forced[name][0], LOGITS)
    close(logits.logsumexp(-1), forced[f"{name}.logsumexp"][0], LOGITS)
    close(logits.topk(forced[f"{name}.top20"].shape[-1]).values, forced[f"{name}.top20"][0], LOGITS)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_stepwise_logits_among_other_rows(
    model: SpeechGpt, prefixes: dict[str, Tensor], forced: dict[str, Tensor], scheme: str
) -> None:
    fields = ("in.cond_rows", "in.text_ids", "in.lang")
    own, other = (
        made(model, *given) for given in zip(*(prefixes[f"batch.{name}"] for name in fields), strict=True)
    )
    fed = [model.dims.start_mel_token, *forced["in.codes"][0].tolist()]
    cache = model.new_cache(3, max(len(own), len(other)) + len(fed))
    model.extend(cache, [(2, own), (0, other)])
    for step, (code, expected) in enumerate(zip(fed, forced[SCHEMES[scheme]][0], strict=True)):
        position = POSITIONS[scheme](step)
        hidden = model.step(cache, [0, 2], [2, code], [position, position])
        close(model.logits(hidden)[1, forced["logit_columns"]], expected, LOGITS)


@pytest.mark.parametrize("name", RUNS)
def test_codes(model: SpeechGpt, name: str) -> None:
    run = GENERATION["runs"][name]
    kwargs, text = run["kwargs"], run["text"]
    rows = load_file(GOLDEN / "conditioning.safetensors")["cond_rows"][0]
    ids, language = torch.tensor(GENERATION[f"ids_{text}"]), torch.tensor(GENERATION[f"lang_{text}"])
    params = Params(
        num_beams=kwargs["num_beams"],
        temperature=kwargs.get("temperature", 1.0) if kwargs["do_sample"] else 0.0,
        repetition_penalty=kwargs.get("repetition_penalty", 1.0),
        length_penalty=kwargs.get("length_penalty", 1.0),
        max_codes=run["max_new"],
    )
    decoded = decode_as_reference(model, made(model, rows, ids, language), params)
    assert [*decoded.codes, *([model.dims.stop_mel_token] if decoded.stopped else [])] == run["codes"]


def test_defaults_are_those_of_the_public_call() -> None:
    params = Params()
    assert (params.top_p, params.top_k, params.temperature, params.num_beams) == (0.8, 30, 0.8, 3)
    assert (params.length_penalty, params.repetition_penalty, params.max_codes) == (0.0, 10.0, 1500)
