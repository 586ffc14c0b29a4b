"""What config.json says, what it leaves to the version, and what it must not say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from deployments.core.errors import CheckpointError
from deployments.voxcpm.dims import dims_from

LISTED = json.loads((Path(__file__).parents[2] / "specs/voxcpm-keys.json").read_text())


def config(version: str, **changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(LISTED[version]["config"])) | changes


def without(known: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in known.items() if name not in names}


@pytest.mark.parametrize(
    ("version", "patch_s", "samples", "rates"),
    [
        ("voxcpm-0.5b", 0.08, 1280, (16000, 16000)),
        ("voxcpm-1.5", 0.16, 7056, (44100, 44100)),
        ("voxcpm2", 0.16, 7680, (16000, 48000)),
    ],
)
def test_published_versions(version: str, patch_s: float, samples: int, rates: tuple[int, int]) -> None:
    dims = dims_from(config(version))
    assert dims.patch_s == pytest.approx(patch_s)
    assert dims.patch_samples == samples
    assert (dims.vae.in_sample_rate_hz, dims.vae.out_sample_rate_hz) == rates
    assert dims.is_version_2 == dims.has_reference == (version == "voxcpm2")
    assert (dims.residual.rope is None) == dims.is_version_2
    assert dims.embedding_scale == dims.base.residual_scale == 1.0


TOP = (
    "architecture",
    "patch_size",
    "feat_dim",
    "residual_lm_num_layers",
    "scalar_quantization_latent_dim",
    "scalar_quantization_scale",
    "max_length",
    "dtype",
    "audio_vae_config",
)


def test_defaults_of_version_1() -> None:
    assert dims_from(without(config("voxcpm-0.5b"), *TOP)) == dims_from(config("voxcpm-0.5b"))


def test_defaults_of_version_2() -> None:
    rest = without(config("voxcpm2"), *TOP[1:])
    assert dims_from(rest) == dims_from(config("voxcpm2"))


def test_mup_is_the_default() -> None:
    changed = config("voxcpm-1.5")
    del changed["lm_config"]["use_mup"]
    dims = dims_from(changed)
    assert dims.embedding_scale == 12
    assert dims.base.residual_scale == pytest.approx(1.4 / math.sqrt(24))
    assert dims.encoder.residual_scale == pytest.approx(1.4 / math.sqrt(8))


def test_factors_go_by_the_longest_position() -> None:
    changed = config("voxcpm-1.5")
    scaling = changed["lm_config"]["rope_scaling"]
    scaling["short_factor"] = [2.0] * 32
    short = dims_from(changed).base.rope
    assert short is not None
    assert short.factors == tuple(scaling["short_factor"])
    assert short.scale == 1.0
    changed["lm_config"]["max_position_embeddings"] = 4 * 32768
    long = dims_from(changed).base.rope
    assert long is not None
    assert long.factors == tuple(scaling["long_factor"])
    assert long.scale == pytest.approx(math.sqrt(1 + math.log(4) / math.log(32768)))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"architecture": "voxcpm3"}, "architecture must be voxcpm or voxcpm2, got 'voxcpm3'"),
        ({"patch_size": 0}, "patch_size must be a whole number above 0, got 0"),
        ({"patch_size": "4"}, "patch_size must be a whole number"),
        ({"lm_config": None}, "lm_config is missing"),
        ({"lm_config": []}, "lm_config must be a mapping"),
        ({"feat_dim": 32}, "latent_dim 64 differs from feat_dim 32"),
        ({"dtype": "int8"}, "dtype must be one of float32, float16, bfloat16"),
        ({"encoder_config": {"hidden_dim": 8, "num_heads": 2, "num_layers": 1}}, "encoder_config: ffn_dim is missing"),
        ({"dit_config": {"hidden_dim": 9, "ffn_dim": 9, "num_heads": 3, "num_layers": 1}}, "3 heads cannot share 2"),
        ({"audio_vae_config": {"use_noise_block": True}}, "use_noise_block is not supported"),
        ({"audio_vae_config": {"decoder_rates": [2.5]}}, "decoder_rates must be a list of whole numbers"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        dims_from(config("voxcpm-1.5", **changes))


def test_factors_must_fit_the_heads() -> None:
    changed = config("voxcpm2")
    changed["encoder_config"]["kv_channels"] = 64
    with pytest.raises(CheckpointError, match="64 factors, half of the head dim 64 are needed"):
        dims_from(changed)
