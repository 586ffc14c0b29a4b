"""BigVGAN v2: log-mel to wave (indextts2-back.md 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deployments.core.errors import CheckpointError
from deployments.networks.snake import Activation, lowpass
from deployments.networks.weight_norm import fold_weight_norm, normed
from deployments.weights.tensors import load_strict, read_tensors, subset, without_values

OUTER_KERNEL = 7  # of the first and the last convolution
ACTIVATION_REACH = 5  # samples to each side that an activation reads
_SUPPORTED = {"resblock": "1", "activation": "snakebeta", "snake_logscale": True}


@dataclass(frozen=True)
class BigVganDims:
    mel_channels: int
    initial_channels: int
    rates: tuple[int, ...]
    kernels: tuple[int, ...]
    block_kernels: tuple[int, ...]
    block_dilations: tuple[tuple[int, ...], ...]
    tanh: bool
    final_bias: bool
    sample_rate_hz: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BigVganDims:
        """From the generator's `config.json`. CheckpointError if a value is missing or not supported."""
        for name, value in _SUPPORTED.items():
            if (found := config.get(name)) != value:
                raise CheckpointError(f"config.json: {name} is {found!r}, only {value!r} is supported")
        try:
            return cls(
                mel_channels=config["num_mels"],
                initial_channels=config["upsample_initial_channel"],
                rates=tuple(config["upsample_rates"]),
                kernels=tuple(config["upsample_kernel_sizes"]),
                block_kernels=tuple(config["resblock_kernel_sizes"]),
                block_dilations=tuple(tuple(each) for each in config["resblock_dilation_sizes"]),
                tanh=config.get("use_tanh_at_final", True),
                final_bias=config.get("use_bias_at_final", True),
                sample_rate_hz=config["sampling_rate"],
            )
        except KeyError as error:
            raise CheckpointError(f"config.json: {error} is missing") from None

    @property
    def hop(self) -> int:
        return prod(self.rates)

    @property
    def halo_frames(self) -> int:
        """Frames on each side of a frame that its samples depend on (7): 38 for the official config."""
        block = max(
            sum(2 * ACTIVATION_REACH + (d + 1) * (kernel - 1) // 2 for d in dilations)
            for kernel, dilations in zip(self.block_kernels, self.block_dilations, strict=True)
        )
        first, last = 0, self.hop - 1  # samples of frame 0, followed back to the mel
        first -= ACTIVATION_REACH + OUTER_KERNEL // 2
        last += ACTIVATION_REACH + OUTER_KERNEL // 2
        for rate, kernel in zip(reversed(self.rates), reversed(self.kernels), strict=True):
            padding = (kernel - rate) // 2
            first = -((block - first - padding + kernel - 1) // rate)
            last = (last + block + padding) // rate
        return max(-first, last) + OUTER_KERNEL // 2


class AmpBlock(nn.Module):
    """Residual pairs of a dilated and a plain convolution, an activation before each."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()

        def conv(dilation: int) -> nn.Conv1d:
            padding = dilation * (kernel - 1) // 2
            return normed(nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation))

        self.convs1 = nn.ModuleList(conv(dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(conv(1) for _ in dilations)
        self.activations = nn.ModuleList(Activation(channels) for _ in range(2 * len(dilations)))

    def forward(self, x: Tensor) -> Tensor:
        activations = iter(self.activations)
        for conv1, conv2 in zip(self.convs1, self.convs2, strict=True):
            y = conv1(next(activations)(x))
            x = conv2(next(activations)(y)) + x
        return x


class BigVgan(nn.Module):
    """Satisfies `Vocoder`. Runs after `prepare`."""

    def __init__(self, dims: BigVganDims) -> None:
        super().__init__()
        self.dims = dims
        self.mel_channels, self.hop, self.halo_frames = dims.mel_channels, dims.hop, dims.halo_frames
        self.sample_rate_hz = dims.sample_rate_hz
        channels = dims.initial_channels
        padding = OUTER_KERNEL // 2
        self.conv_pre = normed(nn.Conv1d(dims.mel_channels, channels, OUTER_KERNEL, padding=padding))
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(dims.rates, dims.kernels, strict=True):
            up = nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2)
            self.ups.append(nn.Sequential(normed(up)))
            channels //= 2
            shapes = zip(dims.block_kernels, dims.block_dilations, strict=True)
            self.resblocks.extend(AmpBlock(channels, *shape) for shape in shapes)
        self.activation_post = Activation(channels)
        self.conv_post = normed(nn.Conv1d(channels, 1, OUTER_KERNEL, padding=padding, bias=dims.final_bias))

    def prepare(self) -> None:
        fold_weight_norm(self)
        for module in self.modules():
            if isinstance(module, Activation):
                module.prepare()

    @torch.inference_mode()
    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel (B, 80, T) of equal lengths -> wave (B, hop * T) in [-1, 1]."""
        x = self.conv_pre(mel.to(self.conv_pre.weight.dtype))
        per_stage = len(self.dims.block_kernels)
        for stage, up in enumerate(self.ups):
            x = up(x)
            first, *others = self.resblocks[stage * per_stage : (stage + 1) * per_stage]
            total = first(x)
            for block in others:
                total += block(x)
            x = total.div_(per_stage)
        wave = self.conv_post(self.activation_post(x))[:, 0].float()
        return wave.tanh() if self.dims.tanh else wave.clamp(-1, 1)


def load_bigvgan(
    source: Path | Mapping[str, Tensor], config: Mapping[str, Any], *, device: torch.device | str = "cpu"
) -> BigVgan:
    """From the official generator file or one whose weight norms were folded, and its `config.json`.

    The constant filters may be absent. CheckpointError if file and config do not fit.
    """
    tensors = dict(read_tensors(source) if isinstance(source, Path) else source)
    tensors = subset(tensors, "generator") or tensors
    with without_values():
        network = BigVgan(BigVganDims.from_config(config))
        if not any(name.endswith(".weight_g") for name in tensors):
            fold_weight_norm(network)
    filters = [name for name in network.state_dict() if name.endswith(".filter")]
    tensors = {name: lowpass() for name in filters} | tensors
    load_strict(network, tensors, source=str(source) if isinstance(source, Path) else "BigVGAN tensors")
    network.prepare()
    return network.to(device)
