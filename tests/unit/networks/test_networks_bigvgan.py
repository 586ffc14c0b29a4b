"""BigVGAN on made-up weights: names of the official file, receptive field, folded files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from network_windows import windows_joined
from torch import Tensor

from deployments.core.errors import CheckpointError
from deployments.networks.bigvgan import BigVgan, BigVganDims, load_bigvgan

SPECS = Path(__file__).parents[2] / "specs"
OFFICIAL: dict[str, Any] = {
    "resblock": "1",
    "activation": "snakebeta",
    "snake_logscale": True,
    "num_mels": 80,
    "sampling_rate": 22050,
    "upsample_initial_channel": 1536,
    "upsample_rates": [4, 4, 2, 2, 2, 2],
    "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
}
# The vocoder of training/nano/recipe.md 1, and one with everything odd.
NANO = OFFICIAL | {
    "upsample_initial_channel": 16,
    "upsample_rates": [4, 4, 4, 4],
    "upsample_kernel_sizes": [8, 8, 8, 8],
    "resblock_kernel_sizes": [3, 7],
    "resblock_dilation_sizes": [[1, 3, 5]] * 2,
}
ODD = OFFICIAL | {
    "upsample_initial_channel": 8,
    "num_mels": 5,
    "upsample_rates": [3, 2],
    "upsample_kernel_sizes": [7, 4],
    "resblock_kernel_sizes": [5, 3],
    "resblock_dilation_sizes": [[1, 2], [1, 4]],
    "use_tanh_at_final": True,
    "use_bias_at_final": True,
}


def checkpoint(config: dict[str, Any]) -> dict[str, Tensor]:
    """Random weights under the official names, small enough not to magnify round-off."""
    generator = torch.Generator().manual_seed(3)
    with torch.device("meta"):
        shapes = BigVgan(BigVganDims.from_config(config)).state_dict()
    return {
        name: torch.randn(value.shape, generator=generator) * 0.1 + 0.6 * ("weight_g" in name)
        for name, value in shapes.items()
        if not name.endswith(".filter")
    }


def test_names_and_shapes_of_the_official_file() -> None:
    listed = json.loads((SPECS / "indextts2-bigvgan-keys.json").read_text())
    with torch.device("meta"):
        state = BigVgan(BigVganDims.from_config(OFFICIAL)).state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == {
        name: entry["shape"] for name, entry in listed.items()
    }


def test_official_receptive_field() -> None:
    dims = BigVganDims.from_config(OFFICIAL)
    assert (dims.halo_frames, dims.hop) == (38, 256)


@pytest.mark.parametrize("config", [NANO, ODD], ids=["nano", "odd"])
def test_halo_is_the_exact_support(config: dict[str, Any]) -> None:
    """A NaN in one frame marks every sample that depends on it."""
    vocoder = load_bigvgan(checkpoint(config), config)
    halo, hop = vocoder.halo_frames, vocoder.hop
    frames = 2 * halo + 5
    middle = frames // 2
    mel = torch.zeros(1, config["num_mels"], frames)
    mel[:, :, middle] = torch.nan
    touched = vocoder(mel)[0].isnan().view(frames, hop).any(dim=1).nonzero().flatten()
    assert max(middle - touched.min(), touched.max() - middle) == halo


def test_rows_of_a_batch_do_not_touch() -> None:
    vocoder = load_bigvgan(checkpoint(NANO), NANO)
    mel = torch.randn(3, NANO["num_mels"], 11)
    for row, wave in zip(mel, vocoder(mel), strict=True):
        torch.testing.assert_close(wave, vocoder(row[None])[0], atol=5e-5, rtol=0)


@pytest.mark.parametrize("config", [NANO, ODD], ids=["nano", "odd"])
def test_windows_equal_one_pass(config: dict[str, Any]) -> None:
    vocoder = load_bigvgan(checkpoint(config), config)
    mel = torch.randn(config["num_mels"], 3 * vocoder.halo_frames + 7)
    frames = mel.shape[-1]
    parts = windows_joined(vocoder, mel, [0, 1, frames // 3, frames // 2, frames - 2, frames])
    torch.testing.assert_close(parts, vocoder(mel[None])[0], atol=5e-5, rtol=0)


def test_activation_by_convolutions_equals_the_one_by_shifts() -> None:
    activation = load_bigvgan(checkpoint(ODD), ODD).resblocks[0].activations[0]
    x = torch.randn(2, activation.channels, 9)
    by_shifts = activation.upsample_by_shifts(x)
    torch.testing.assert_close(by_shifts, activation.upsample_by_convolution(x), atol=1e-6, rtol=0)
    phases = torch.randn(2, activation.channels, 2, 9)
    expected = activation.downsample_by_convolution(phases)
    torch.testing.assert_close(activation.downsample_by_shifts(phases), expected, atol=1e-6, rtol=0)


def test_a_folded_file_without_filters_gives_the_same_audio() -> None:
    tensors = checkpoint(ODD)
    vocoder = load_bigvgan({f"generator.{name}": value for name, value in tensors.items()}, ODD)
    folded = {name: value for name, value in vocoder.state_dict().items() if not name.endswith(".filter")}
    assert not any("weight_g" in name for name in folded)
    mel = torch.randn(1, ODD["num_mels"], 10)
    assert torch.equal(load_bigvgan(folded, ODD)(mel), vocoder(mel))


@pytest.mark.parametrize("change", [{"resblock": "2"}, {"activation": "snake"}, {"upsample_rates": None}])
def test_other_architectures_are_refused(change: dict[str, Any]) -> None:
    config = {name: value for name, value in (OFFICIAL | change).items() if value is not None}
    with pytest.raises(CheckpointError, match=next(iter(change))):
        BigVganDims.from_config(config)


def test_a_missing_tensor_is_named() -> None:
    tensors = checkpoint(ODD)
    del tensors["conv_pre.bias"]
    with pytest.raises(CheckpointError, match=r"conv_pre\.bias"):
        load_bigvgan(tensors, ODD)
