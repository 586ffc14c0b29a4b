"""Causal layers of the AudioVAE, and what they remember between two pieces of a stream (voxcpm.md 9)."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from deployments.networks.weight_norm import fold_weight_norm, normed

KERNEL = 7  # of the residual units and of the outermost convolutions
DILATIONS = (1, 3, 9)
ALPHA_EPSILON = 1e-9

Network = TypeVar("Network", bound=nn.Module)


class History:
    """The last input samples of every causal layer, packed into one row per stream: float (B, `history_size`).

    Layers take their part and leave the new one in the order in which they run, so one History serves one pass.
    Zeros stand for the beginning of a stream.
    """

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows
        self._at = 0
        self._left: list[Tensor] = []

    def before(self, x: Tensor, length: int) -> Tensor:
        """(B, C, T) -> (B, C, length + T): x behind the `length` samples that came before it."""
        size = x.shape[1] * length
        past = self._rows[:, self._at : self._at + size].unflatten(1, (x.shape[1], length))
        self._at += size
        joined = torch.cat([past, x], dim=-1)
        self._left.append(joined[..., joined.shape[-1] - length :].flatten(1))
        return joined

    def after(self) -> Tensor:
        """The rows for the next piece, after all layers ran."""
        return torch.cat(self._left, dim=1)


class CausalConv(nn.Conv1d):
    """A convolution with `past` samples on its left; (kernel - 1) * dilation if nothing is said."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        past: int | None = None,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, dilation=dilation, groups=groups)
        self.past = dilation * (kernel - 1) if past is None else past
        normed(self)

    def forward(self, x: Tensor, history: History) -> Tensor:  # type: ignore[override]
        """(B, C, T) -> (B, outputs, T / stride); T must be a multiple of the stride."""
        return super().forward(history.before(x, self.past) if self.past else x)


class CausalUp(nn.ConvTranspose1d):
    """A transposed convolution with a kernel of twice its stride: a sample reaches the next `stride` samples, too."""

    past = 1

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, 2 * stride, stride)
        normed(self)

    def forward(self, x: Tensor, history: History) -> Tensor:  # type: ignore[override]
        """(B, C, T) -> (B, outputs, T * stride)"""
        [stride] = self.stride
        return super().forward(history.before(x, self.past))[..., stride:-stride]


class VaeSnake(nn.Module):
    """x + sin(alpha x)^2 / alpha for each channel. Runs after `prepare`."""

    inverse: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(1, channels, 1))

    def prepare(self) -> None:
        self.register_buffer("inverse", 1 / (self.alpha + ALPHA_EPSILON), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        wave = (x * self.alpha).sin_()
        return torch.addcmul(x, wave.mul_(wave), self.inverse)


class ResidualUnit(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            [
                VaeSnake(channels),
                CausalConv(channels, channels, KERNEL, dilation=dilation, groups=channels),
                VaeSnake(channels),
                CausalConv(channels, channels, 1),
            ]
        )

    def forward(self, x: Tensor, history: History) -> Tensor:
        snake, depthwise, second_snake, pointwise = self.block
        return x + pointwise(second_snake(depthwise(snake(x), history)), history)


def history_size(network: nn.Module) -> int:
    """Samples of a History's row for `network`."""
    layers = (layer for layer in network.modules() if isinstance(layer, CausalConv | CausalUp))
    return sum(layer.in_channels * layer.past for layer in layers)


def prepared(network: Network) -> Network:
    """`network` with loaded tensors, made ready to run: weight norms folded, constants of activations computed."""
    fold_weight_norm(network)
    for module in network.modules():
        if isinstance(module, VaeSnake):
            module.prepare()
    return network
