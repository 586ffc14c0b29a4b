"""Conformers, perceivers and emotion vectors against the golden data (indextts2-front.md 5)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_close import close
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.conditioner import FeatureConditioner, Perceiver, load_conditioner
from deployments.indextts2.speaker.conformer import Conformer, sinusoid
from deployments.indextts2.speaker.emotion import merge

LIMIT = 5e-5
NO_STYLE = torch.empty(0)

pytestmark = pytest.mark.usefixtures("_no_gradients")


@pytest.fixture
def _no_gradients():
    with torch.inference_mode():
        yield


def full(features: Tensor) -> Tensor:
    return torch.full((features.shape[0],), features.shape[1])


@pytest.fixture(scope="module")
def golden_tensors(golden_front: Path) -> dict[str, Tensor]:
    return load_file(golden_front / "conditioning.safetensors")


@pytest.fixture(scope="module")
def conditioner(golden_front: Path) -> FeatureConditioner:
    checkpoint = IndexTTSCheckpoint(golden_front / "ckpt")
    loaded = load_conditioner(checkpoint.tensors("gpt"), checkpoint.conditioner_dims, source="gpt.pth")
    assert isinstance(loaded, FeatureConditioner)
    return loaded


def check_conformer(conformer: Conformer, features: Tensor, golden: dict[str, Tensor], name: str) -> None:
    close(conformer.embed.conv(features[:, None]), golden[f"{name}.subsample_conv"], LIMIT)
    hidden = conformer.embed(features)
    hidden = hidden * math.sqrt(hidden.shape[-1])
    close(hidden, golden[f"{name}.embed_scaled"], LIMIT)
    block = conformer.encoders[0]
    mask = torch.ones(hidden.shape[:2], dtype=torch.bool)
    positions = sinusoid(hidden.shape[1], hidden.shape[2], hidden.device)
    attended = block.self_attn(block.norm_mha(hidden), positions, mask)
    close(attended, golden[f"{name}.block0_attn"], LIMIT)
    close(
        block.conv_module(block.norm_conv(hidden + attended), mask),
        golden[f"{name}.block0_convmodule"],
        LIMIT,
    )
    close(block(hidden, positions, mask), golden[f"{name}.block0_out"], LIMIT)
    close(conformer(features, full(features))[0], golden[f"{name}.conformer_out"], LIMIT)


def check_perceiver(perceiver: Perceiver, golden: dict[str, Tensor], name: str) -> None:
    frames = perceiver.proj_context(golden[f"{name}.conformer_out"])
    close(frames, golden[f"{name}.perceiver_context"], LIMIT)
    attention, feed_forward = perceiver.layers[0]
    latents = perceiver.latents[None]
    context = torch.cat((latents, frames), dim=1)
    attended = attention(latents, context, torch.ones(context.shape[:2], dtype=torch.bool))
    close(attended, golden[f"{name}.perceiver_layer0_attn"], LIMIT)
    close(feed_forward(latents + attended), golden[f"{name}.perceiver_layer0_ff"], LIMIT)


def test_speaker_encoder_layers(conditioner: FeatureConditioner, golden_tensors: dict[str, Tensor]) -> None:
    check_conformer(conditioner.conditioning_encoder, golden_tensors["in.spk"], golden_tensors, "spk")
    check_perceiver(conditioner.perceiver_encoder, golden_tensors, "spk")


def test_emotion_encoder_layers(conditioner: FeatureConditioner, golden_tensors: dict[str, Tensor]) -> None:
    features = golden_tensors["in.emo"]
    check_conformer(conditioner.emo_conditioning_encoder, features, golden_tensors, "emo")
    check_perceiver(conditioner.emo_perceiver_encoder, golden_tensors, "emo")
    hidden = conditioner.emo_conditioning_encoder(features, full(features))
    pooled = conditioner.emo_perceiver_encoder(*hidden)[:, 0]
    close(pooled, golden_tensors["emo.perceiver_out"], LIMIT)
    close(conditioner.emovec_layer(pooled), golden_tensors["emo.emovec_layer"], LIMIT)


def test_latents(conditioner: FeatureConditioner, golden_tensors: dict[str, Tensor]) -> None:
    features = golden_tensors["in.spk"]
    close(
        conditioner.speaker_latents(features, full(features), NO_STYLE), golden_tensors["spk.latents"], LIMIT
    )
    for name, expected in golden_tensors.items():
        if name.startswith("short"):
            short = features[:, : int(name.removeprefix("short").removesuffix(".latents"))]
            close(conditioner.speaker_latents(short, full(short), NO_STYLE), expected, LIMIT)


def test_emotion_vectors(conditioner: FeatureConditioner, golden_tensors: dict[str, Tensor]) -> None:
    for name in ("spk", "emo", "spk_as_emo"):
        features = golden_tensors[f"in.{name}"]
        close(conditioner.emotion(features, full(features)), golden_tensors[f"{name}.emovec"], LIMIT)


def test_merge(golden_tensors: dict[str, Tensor]) -> None:
    speaker, reference = (golden_tensors[f"{name}.emovec"][0].numpy() for name in ("spk", "emo"))
    for name, expected in golden_tensors.items():
        if name.startswith("merge.alpha_"):
            mixed = merge(speaker, reference, float(name.removeprefix("merge.alpha_")))
            assert mixed.dtype == np.float32
            close(torch.from_numpy(mixed)[None], expected, LIMIT)


def test_ragged_batch(conditioner: FeatureConditioner, golden_tensors: dict[str, Tensor]) -> None:
    features, lengths = golden_tensors["batch.in"], golden_tensors["batch.lengths"]
    hidden, mask = conditioner.conditioning_encoder(features, lengths)
    assert torch.equal(mask[:, None].long(), golden_tensors["batch.mask"])
    close(hidden, golden_tensors["batch.conformer_out"], LIMIT)
    close(conditioner.speaker_latents(features, lengths, NO_STYLE), golden_tensors["batch.latents"], LIMIT)
    close(conditioner.emotion(features, lengths), golden_tensors["batch.emovec"], LIMIT)
