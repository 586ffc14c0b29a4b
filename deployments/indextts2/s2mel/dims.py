"""Widths of the s2mel networks, read from `config.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployments.core.errors import CheckpointError

GPT_LAYER_INNER = (256, 128)  # fixed in the model, in no config
TIME_FREQUENCIES = 128
MAX_FRAMES = 16384  # length of the position table of the model

# The branches of the model that the published checkpoints use; other values would need other tensors.
_SUPPORTED = {
    "s2mel.DiT.style_condition": True,
    "s2mel.DiT.final_layer_type": "wavenet",
    "s2mel.DiT.is_causal": False,
    "s2mel.DiT.long_skip_connection": True,
    "s2mel.DiT.uvit_skip_connection": True,
    "s2mel.DiT.zero_prompt_speech_token": False,
    "s2mel.DiT.time_as_token": False,
    "s2mel.DiT.style_as_token": False,
    "s2mel.wavenet.style_condition": True,
    "s2mel.wavenet.dilation_rate": 1,
    "s2mel.length_regulator.is_discrete": False,
    "s2mel.length_regulator.vector_quantize": False,
    "s2mel.length_regulator.f0_condition": False,
}


@dataclass(frozen=True)
class RegulatorDims:
    in_channels: int
    channels: int
    stages: int


@dataclass(frozen=True)
class EstimatorDims:
    mel_channels: int
    hidden: int
    heads: int
    depth: int
    content: int
    style: int
    wavenet_layers: int
    wavenet_kernel: int

    @property
    def feed_forward(self) -> int:
        """Two thirds of four times the width, rounded up to a multiple of 256."""
        return -(-(8 * self.hidden // 3) // 256) * 256

    @property
    def merged(self) -> int:
        """Columns of the merge layer: x | prompt_x | projected mu | style."""
        return 2 * self.mel_channels + self.hidden + self.style

    @property
    def wavenet_padding(self) -> int:
        return self.wavenet_kernel // 2

    @property
    def head_halo_frames(self) -> int:
        """Frames to the left that an output frame of the WaveNet head depends on."""
        return self.wavenet_layers * self.wavenet_padding


@dataclass(frozen=True)
class S2MelDims:
    estimator: EstimatorDims
    regulator: RegulatorDims
    gpt_layer: tuple[int, ...]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> S2MelDims:
        """Dims of the whole `config.yaml`. CheckpointError if a value is missing or not supported."""
        for name, value in _SUPPORTED.items():
            if (found := _value(config, name)) != value:
                raise CheckpointError(f"config.yaml: {name} is {found!r}, only {value!r} is supported")
        estimator = EstimatorDims(
            mel_channels=_value(config, "s2mel.DiT.in_channels"),
            hidden=_value(config, "s2mel.DiT.hidden_dim"),
            heads=_value(config, "s2mel.DiT.num_heads"),
            depth=_value(config, "s2mel.DiT.depth"),
            content=_value(config, "s2mel.DiT.content_dim"),
            style=_value(config, "s2mel.style_encoder.dim"),
            wavenet_layers=_value(config, "s2mel.wavenet.num_layers"),
            wavenet_kernel=_value(config, "s2mel.wavenet.kernel_size"),
        )
        if (wavenet := _value(config, "s2mel.wavenet.hidden_dim")) != estimator.hidden:
            raise CheckpointError(
                f"config.yaml: s2mel.wavenet.hidden_dim is {wavenet}, but must equal "
                f"s2mel.DiT.hidden_dim = {estimator.hidden}"
            )
        regulator = RegulatorDims(
            in_channels=_value(config, "s2mel.length_regulator.in_channels"),
            channels=_value(config, "s2mel.length_regulator.channels"),
            stages=len(_value(config, "s2mel.length_regulator.sampling_ratios")),
        )
        gpt_layer = (_value(config, "gpt.model_dim"), *GPT_LAYER_INNER, regulator.in_channels)
        return cls(estimator, regulator, gpt_layer)


def _value(config: Mapping[str, Any], name: str) -> Any:
    found: Any = config
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise CheckpointError(f"config.yaml: {name} is missing")
        found = found[part]
    return found
