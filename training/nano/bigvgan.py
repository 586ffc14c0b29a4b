"""Vocoder B: the served BigVGAN at 1 M parameters, with a forward pass that gradients can go through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.networks.bigvgan import BigVgan, BigVganDims
from deployments.networks.snake import Activation, lowpass
from training.nano.config import MEL_BANDS, SAMPLE_RATE_HZ

CONFIG: dict[str, Any] = {
    "num_mels": MEL_BANDS,
    "sampling_rate": SAMPLE_RATE_HZ,
    "upsample_rates": [4, 4, 4, 4],
    "upsample_kernel_sizes": [8, 8, 8, 8],
    "upsample_initial_channel": 192,
    "resblock": "1",
    "resblock_kernel_sizes": [3, 7],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]],
    "activation": "snakebeta",
    "snake_logscale": True,
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
}


class TrainableBigVgan(BigVgan):
    """Keys as in the official generator file; the served class reads the result."""

    def __init__(self) -> None:
        super().__init__(BigVganDims.from_config(CONFIG))
        tensors = self.state_dict()
        with torch.no_grad():
            for name, value in tensors.items():
                if name.endswith("weight_v"):
                    nn.init.normal_(value, std=0.02)
                elif name.endswith(".filter"):
                    value.copy_(lowpass())
                elif name.endswith((".alpha", ".beta")):
                    value.zero_()
            for name, value in tensors.items():
                if name.endswith("weight_g"):
                    direction = tensors[name[:-1] + "v"]
                    value.copy_(direction.flatten(1).norm(dim=1).view_as(value))

    def forward(self, mel: Tensor) -> Tensor:
        """(B, 80, T) to (B, 256 T). The limit to +-1 is left to the served network: it has no slope."""
        x = _convolve(self.conv_pre, mel)
        per_stage = len(self.dims.block_kernels)
        for stage, up in enumerate(self.ups):
            x = _convolve(up[0], x)  # type: ignore[index]
            blocks = self.resblocks[stage * per_stage : (stage + 1) * per_stage]
            x = torch.stack([_block(block, x) for block in blocks]).mean(0)
        return _convolve(self.conv_post, _activate(self.activation_post, x))[:, 0]


def _block(block: nn.Module, x: Tensor) -> Tensor:
    activations = iter(block.activations)  # type: ignore[arg-type]
    for first, second in zip(block.convs1, block.convs2, strict=True):  # type: ignore[arg-type]
        y = _convolve(first, _activate(next(activations), x))
        x = _convolve(second, _activate(next(activations), y)) + x
    return x


def _convolve(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer with its weight-norm pair put together."""
    gain, direction = layer.get_parameter("weight_g"), layer.get_parameter("weight_v")
    weight = direction * (gain / direction.flatten(1).norm(dim=1).view_as(gain))
    if isinstance(layer, nn.ConvTranspose1d):
        padding = (layer.kernel_size[0] - layer.stride[0]) // 2
        return F.conv_transpose1d(x, weight, layer.bias, layer.stride, padding)
    assert isinstance(layer, nn.Conv1d)
    return F.conv1d(x, weight, layer.bias, 1, layer.padding, layer.dilation)


def _activate(activation: Activation, x: Tensor) -> Tensor:
    """Anti-aliased SnakeBeta by the letter (indextts2-back.md 5)."""
    channels = x.shape[1]
    taps = activation.upsample.filter.expand(channels, -1, -1)
    up = (
        2
        * F.conv_transpose1d(F.pad(x, (5, 5), mode="replicate"), taps, stride=2, groups=channels)[..., 15:-15]
    )
    frequency, depth = activation.act.alpha.exp()[:, None], activation.act.beta.exp()[:, None] + 1e-9
    up = up + (up * frequency).sin().square() / depth
    taps = activation.downsample.lowpass.filter.expand(channels, -1, -1)
    return F.conv1d(F.pad(up, (5, 6), mode="replicate"), taps, stride=2, groups=channels)
