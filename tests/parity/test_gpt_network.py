"""GPT prefix, logits and latents against the golden data (indextts2-front.md 6 and 8)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_close import close
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.attention import StepAttention
from deployments.indextts2.gpt.engine import load_model
from deployments.indextts2.gpt.generation import latents_of
from deployments.indextts2.gpt.model import SpeechGpt, key_length
from deployments.indextts2.gpt.positions import generation_position
from deployments.indextts2.gpt.selection import Selection

TEXTS = ("text1", "text2")


@pytest.fixture(scope="module")
def model(golden_front: Path) -> SpeechGpt:
    return load_model(IndexTTSCheckpoint(golden_front / "ckpt"), device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def golden_gpt(golden_front: Path) -> dict[str, Tensor]:
    return load_file(golden_front / "gpt_prefix_logits.safetensors")


@pytest.fixture(scope="module")
def golden_latent(golden_front: Path) -> dict[str, Tensor]:
    return load_file(golden_front / "latent.safetensors")


@pytest.fixture(scope="module")
def voice(model: SpeechGpt, golden_gpt: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    emotion = golden_gpt["emovec"][0]
    return golden_gpt["conds_34"][0, : model.dims.condition_num_latent] - emotion, emotion


def prefix_of(model: SpeechGpt, voice: tuple[Tensor, Tensor], ids: Tensor) -> Tensor:
    return model.prefix(*voice, ids.tolist())


def test_condition_from_the_speaker_encoder_outputs(
    model: SpeechGpt, golden_gpt: dict[str, Tensor], golden_front: Path
) -> None:
    conditioning = load_file(golden_front / "conditioning.safetensors")
    if not torch.equal(conditioning["in.spk"], golden_gpt["in.spk"]):
        pytest.skip("this golden set conditions the GPT on another reference")
    rows = model.prefix(conditioning["spk.latents"][0], golden_gpt["emovec"][0], [])
    close(rows[: golden_gpt["conds_34"].shape[1]], golden_gpt["conds_34"][0], 5e-5)


@pytest.mark.parametrize("text", TEXTS)
def test_prefix(model: SpeechGpt, golden_gpt: dict[str, Tensor], voice, text: str) -> None:
    prefix = prefix_of(model, voice, golden_gpt[f"{text}.ids"][0])
    close(prefix, golden_gpt[f"{text}.prefix_embeds"][0], 5e-5)
    mask = golden_gpt[f"{text}.attention_mask"][0]
    assert mask.tolist() == [1] * (len(prefix) + 1)


def test_batch_of_texts_without_its_left_padding(
    model: SpeechGpt, golden_gpt: dict[str, Tensor], voice
) -> None:
    embeds, masks = golden_gpt["batch.prefix_embeds"], golden_gpt["batch.attention_mask"]
    for ids, expected, mask in zip(golden_gpt["batch.text"], embeds, masks, strict=True):
        prefix = prefix_of(model, voice, ids)
        assert int(mask.sum()) == len(prefix) + 1
        padding = len(mask) - int(mask.sum())
        close(prefix, expected[padding:], 5e-5)
        assert not expected[:padding].any()


@pytest.mark.parametrize("name", [*TEXTS, "batch"])
def test_selection_starts_with_the_placeholder_ids(
    model: SpeechGpt, golden_gpt: dict[str, Tensor], name: str
) -> None:
    selection = Selection(model.dims, 1)
    selection.open([0])
    for fake_ids in golden_gpt[f"{name}.fake_input_ids"]:
        assert set(selection.history.seen(torch.tensor([0]), steps=0)[0].tolist()) == set(fake_ids.tolist())


def teacher_inputs(
    model: SpeechGpt, golden_gpt: dict[str, Tensor], voice, gap: bool
) -> tuple[Tensor, list[int], list[int]]:
    codes = golden_gpt["tf.codes"][0].tolist()
    fed = [model.dims.start_mel_token, *codes]
    positions = [generation_position(i) if gap else i for i in range(len(fed))]
    return prefix_of(model, voice, golden_gpt["text1.ids"][0]), fed, positions


@pytest.mark.parametrize(("gap", "name"), [(True, "tf.logits_kvcache"), (False, "tf.logits_nocache")])
def test_teacher_forced_logits(
    model: SpeechGpt, golden_gpt: dict[str, Tensor], voice, gap: bool, name: str
) -> None:
    prefix, fed, positions = teacher_inputs(model, golden_gpt, voice, gap)
    cache = model.new_cache(1, len(prefix) + len(fed))
    hidden = model.extend(cache, [(0, torch.cat([prefix, model.embed(fed, positions)]))])[0]
    close(model.logits(hidden[len(prefix) :]), golden_gpt[name][0], 1e-4)


def test_trunk_before_the_second_norm(model: SpeechGpt, golden_gpt: dict[str, Tensor], voice) -> None:
    prefix, fed, positions = teacher_inputs(model, golden_gpt, voice, gap=False)
    cache = model.new_cache(1, len(prefix) + len(fed))
    states: list[Tensor] = []
    hook = model.gpt.register_forward_hook(lambda module, inputs, output: states.append(output))
    rows = torch.cat([prefix, model.embed(fed, positions)])
    model.extend(cache, [(0, rows)])
    hook.remove()
    expected = golden_gpt["tf.trunk_last_hidden_nocache_after_ln_f"][0]
    close(states[0][len(prefix) : len(rows)], expected, 5e-5)


@pytest.mark.parametrize(("gap", "name"), [(True, "tf.logits_kvcache"), (False, "tf.logits_nocache")])
def test_stepwise_logits_among_other_rows(
    model: SpeechGpt, golden_gpt: dict[str, Tensor], voice, gap: bool, name: str
) -> None:
    prefix, fed, positions = teacher_inputs(model, golden_gpt, voice, gap)
    other = prefix_of(model, voice, golden_gpt["text2.ids"][0])
    cache = model.new_cache(3, max(len(prefix), len(other)) + len(fed))
    model.extend(cache, [(2, prefix), (0, other)])
    for code, position, expected in zip(fed, positions, golden_gpt[name][0], strict=True):
        hidden = model.step(cache, [0, 2], [2, code], [position, position])
        close(model.logits(hidden)[1], expected, 1e-4)


def test_batched_step_attention(model: SpeechGpt, golden_gpt: dict[str, Tensor], voice) -> None:
    """The form of the step that accelerators use: one masked attention over all rows."""
    prefix, fed, positions = teacher_inputs(model, golden_gpt, voice, gap=True)
    other = prefix_of(model, voice, golden_gpt["text2.ids"][0])
    cache = model.new_cache(3, max(len(prefix), len(other)) + len(fed))
    model.extend(cache, [(2, prefix), (0, other)])
    slots = torch.tensor([0, 2])
    with torch.inference_mode():
        for code, position, expected in zip(fed, positions, golden_gpt["tf.logits_kvcache"][0], strict=True):
            lengths = torch.tensor([cache.lengths[0], cache.lengths[2]])
            attention = StepAttention(cache, slots, lengths, key_length(cache, max(cache.lengths) + 1))
            rows = model.embed([2, code], [position, position])
            hidden = model.final_norm(model.gpt(rows, attention))
            cache.lengths[0] += 1
            cache.lengths[2] += 1
            close(model.logits(hidden)[1], expected, 1e-4)


@pytest.mark.parametrize("case", ["greedy", "beam", "tf"])
def test_latents_in_one_pass(
    model: SpeechGpt,
    golden_gpt: dict[str, Tensor],
    golden_latent: dict[str, Tensor],
    voice,
    case: str,
) -> None:
    prefix = prefix_of(model, voice, golden_gpt["text1.ids"][0])
    codes = golden_latent[f"{case}.codes"][0].tolist()
    close(latents_of(model, prefix, codes), golden_latent[f"{case}.latent"][0], 5e-5)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_latents_as_codes_arrive(
    model: SpeechGpt, golden_gpt: dict[str, Tensor], golden_latent: dict[str, Tensor], voice, chunk: int
) -> None:
    """Behind a copy of the generation's prefix, in pieces or, with chunk 1, as a row of ordinary steps."""
    prefix = prefix_of(model, voice, golden_gpt["text1.ids"][0])
    codes = golden_latent["tf.codes"][0].tolist()
    cache = model.new_cache(2, len(prefix) + len(codes) + 1)
    model.extend(cache, [(0, torch.cat([prefix, model.start()]))])
    cache.copy(0, [1], len(prefix))
    made = [model.extend(cache, [(1, model.latent_inputs(codes[:1], 0))])[0]]
    for known in range(1, len(codes), chunk):
        if chunk == 1:
            # A generating row shares the step.
            slots, fed = [0, 1], [3, codes[known - 1]]
            made.append(model.step(cache, slots, fed, [generation_position(known + 1), known])[1:])
        else:
            inputs = model.latent_inputs(codes[: known + chunk], known)
            made += model.extend(cache, [(1, inputs)])
    close(torch.cat(made), golden_latent["tf.latent"][0], 5e-5)
