"""WaveNet head of the estimator: gated convolutions, modulated by the time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deployments.indextts2.s2mel.dims import EstimatorDims
from deployments.indextts2.s2mel.layout import Layout
from deployments.networks.weight_norm import normed


class Nested(nn.Module):
    """A convolution under the name `conv.conv`, as in the checkpoint."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        self.conv = nn.ModuleDict({"conv": conv})

    def forward(self, x: Tensor) -> Tensor:
        return self.conv["conv"](x)


class WaveNet(nn.Module):
    """indextts2-back.md 4.1; (B, D, T) -> (B, D, T)."""

    def __init__(self, dims: EstimatorDims) -> None:
        super().__init__()
        width, layers = dims.hidden, dims.wavenet_layers

        def conv(out: int, kernel: int) -> Nested:
            return Nested(normed(nn.Conv1d(width, out, kernel)))

        self.layers = layers
        self.cond_layer = conv(2 * width * layers, 1)
        self.in_layers = nn.ModuleList(conv(2 * width, dims.wavenet_kernel) for _ in range(layers))
        # The last layer feeds the output only.
        self.res_skip_layers = nn.ModuleList(
            conv(2 * width if layer < layers - 1 else width, 1) for layer in range(layers)
        )

    def project(self, t2: Tensor) -> Tensor:
        """Time embedding (N, D) -> additions per layer (layers, N, 2 D, 1)."""
        return torch.stack(self.cond_layer(t2[:, :, None]).chunk(self.layers, dim=1))

    def forward(self, u: Tensor, additions: Tensor, layout: Layout) -> Tensor:
        total: Tensor | None = None
        for layer, (convolve, res_skip) in enumerate(zip(self.in_layers, self.res_skip_layers, strict=True)):
            filtered, gate = (convolve(layout.reflect_pad(u)) + additions[layer]).chunk(2, dim=1)
            out = res_skip(filtered.tanh() * gate.sigmoid())
            if layer < self.layers - 1:
                residual, out = out.chunk(2, dim=1)
                u = u + residual
            total = out if total is None else total + out
        assert total is not None
        return total
