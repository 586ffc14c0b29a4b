"""The velocity network of the flow: merge layer, transformer, WaveNet head (indextts2-back.md 4.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.indextts2.s2mel.dims import TIME_FREQUENCIES, EstimatorDims
from deployments.indextts2.s2mel.layout import Layout
from deployments.indextts2.s2mel.transformer import AdaptiveNorm, Rope, Transformer
from deployments.networks.packed_linear import PackedLinear, can_pack, pack_linears
from deployments.networks.weight_norm import fold_weight_norm, normed

ROPE_GROWTH = 1024  # frames by which the position table grows
_UNUSED = re.compile(
    r"input_pos|x_embedder\..*|cond_embedder\.weight|content_mask_embedder\.weight"
    r"|transformer\.layers\.\d+\.skip_in_linear\..*"
)


@dataclass(frozen=True)
class TimeProjections:
    """What the layers take from the time; N time values, or one for a whole batch.

    norms (2 * depth + 1, N, 2, D): gain and bias of each block's attention and FFN norm, then the final norm.
    wavenet (layers, N, 2 D, 1): added to the output of each WaveNet convolution.
    final (N, 2, D): shift, 1 + scale.
    """

    norms: Tensor
    wavenet: Tensor
    final: Tensor


class TimeEmbedder(nn.Module):
    """Sinusoids of 1000 t through two linear layers (indextts2-back.md 4.1): (N,) -> (N, hidden)."""

    freqs: Tensor

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.empty(TIME_FREQUENCIES))
        self.mlp = nn.Sequential(
            nn.Linear(2 * TIME_FREQUENCIES, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
        )

    def forward(self, t: Tensor) -> Tensor:
        # The factor 1000 makes the angle sensitive to rounding: this order of products is the model's.
        angle = (1000 * t)[:, None] * self.freqs
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1))


class Nested(nn.Module):
    """A convolution under the name `conv.conv`, as in the checkpoint."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        self.conv = nn.ModuleDict({"conv": conv})

    def forward(self, x: Tensor) -> Tensor:
        return self.conv["conv"](x)


class WaveNet(nn.Module):
    """Gated convolutions, modulated by the time: (B, D, T) -> (B, D, T)."""

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


class FinalLayer(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear = normed(nn.Linear(hidden, hidden))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def project(self, t1: Tensor) -> Tensor:
        """(N, D) -> (N, 2, D): shift, 1 + scale."""
        shift, scale = self.adaLN_modulation(t1).chunk(2, dim=-1)
        return torch.stack((shift, 1 + scale), dim=1)

    def forward(self, y: Tensor, modulation: Tensor) -> Tensor:
        normal = F.layer_norm(y, y.shape[-1:], eps=1e-6)
        return self.linear(torch.addcmul(modulation[:, :1], normal, modulation[:, 1:]))


class Estimator(nn.Module):
    """Runs after `prepare`. The merge layer is split: its columns of mu, prompt and style never change."""

    def __init__(self, dims: EstimatorDims) -> None:
        super().__init__()
        hidden = dims.hidden
        self.dims = dims
        self.transformer = Transformer(dims)
        self.t_embedder = TimeEmbedder(hidden)
        self.t_embedder2 = TimeEmbedder(hidden)
        self.cond_projection = nn.Linear(dims.content, hidden)
        self.cond_x_merge_linear = nn.Linear(dims.merged, hidden)
        self.skip_linear = nn.Linear(hidden + dims.mel_channels, hidden)
        self.conv1 = nn.Linear(hidden, hidden)
        self.wavenet = WaveNet(dims)
        self.res_projection = nn.Linear(hidden, hidden)
        self.final_layer = FinalLayer(hidden)
        self.conv2 = nn.Conv1d(hidden, dims.mel_channels, 1)
        self._rope: Rope | None = None

    @staticmethod
    def unused(name: str) -> bool:
        """Tensors of the checkpoint that inference never reads (indextts2-back.md 6)."""
        return _UNUSED.fullmatch(name) is not None

    def prepare(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Fold the weight norms and move to `device`; the time embedders stay float32 (angles reach 1000).

        On a CPU in float32 the weights become this process's own memory, laid out for its fastest kernel.
        """
        fold_weight_norm(self)
        for name, child in self.named_children():
            child.to(device, torch.float32 if name.startswith("t_embedder") else dtype)
        # bfloat16 has the fast kernel without packing.
        if self.dtype == torch.float32 and can_pack(self.device, self.dtype):
            self._pack()

    def _pack(self) -> None:
        """What sees many rows: not the layers of the time, nor the merge layer, which is used column by column."""
        pack_linears(self.transformer, keep=AdaptiveNorm)
        names = ("cond_projection", "skip_linear", "conv1", "res_projection")
        for parent, name in (*((self, name) for name in names), (self.final_layer, "linear")):
            layer = getattr(parent, name)
            setattr(parent, name, PackedLinear(layer.weight, layer.bias))

    @property
    def dtype(self) -> torch.dtype:
        return self.conv2.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.conv2.weight.device

    def project_times(self, t: Tensor) -> TimeProjections:
        """Everything that depends on t (N,) float32 alone."""
        t1, t2 = self.t_embedder(t).to(self.dtype), self.t_embedder2(t).to(self.dtype)
        return TimeProjections(
            self.transformer.project(t1), self.wavenet.project(t2), self.final_layer.project(t1)
        )

    def merge_static(self, prompt_mel: Tensor, mu: Tensor, style: Tensor) -> Tensor:
        """Constant part of the merge layer, one row: prompt_mel (80, P), mu (T, C), style (S,) -> (T, D)."""
        mel, hidden = self.dims.mel_channels, self.dims.hidden
        weight, bias = self.cond_x_merge_linear.weight, self.cond_x_merge_linear.bias
        of_style = F.linear(style, weight[:, 2 * mel + hidden :], bias)
        static = F.linear(self.cond_projection(mu), weight[:, 2 * mel : 2 * mel + hidden]) + of_style
        static[: prompt_mel.shape[-1]] += F.linear(prompt_mel.mT, weight[:, mel : 2 * mel])
        return static

    def merge_unconditional(self) -> Tensor:
        """The same for mu, prompt and style = 0; the bias of the mu projection stays. -> (D,)"""
        mel, hidden = self.dims.mel_channels, self.dims.hidden
        of_mu = self.cond_x_merge_linear.weight[:, 2 * mel : 2 * mel + hidden]
        return F.linear(self.cond_projection.bias, of_mu, self.cond_x_merge_linear.bias)

    def merge_noise(self, x: Tensor) -> Tensor:
        """Step-dependent part of the merge layer: (B, T, 80) -> (B, T, D), to be added to the static part."""
        return F.linear(x, self.cond_x_merge_linear.weight[:, : self.dims.mel_channels])

    def forward(self, merged: Tensor, x: Tensor, times: TimeProjections, layout: Layout) -> Tensor:
        """Velocity. merged (B, T, D), x (B, T, 80), times of 1 or B values -> (B, T_window, 80)."""
        h = self.transformer(merged, times.norms, self._rope_table(merged.shape[1]), layout)
        r = self.skip_linear(torch.cat([h, layout.window.take(x)], dim=-1))
        out = self.wavenet(self.conv1(r).mT, times.wavenet, layout)
        y = self.final_layer(out.mT + self.res_projection(r), times.final)
        return F.linear(y, self.conv2.weight.squeeze(-1), self.conv2.bias)

    def _rope_table(self, frames: int) -> Rope:
        if self._rope is None or self._rope.cos.shape[0] < frames or self._rope.cos.device != self.device:
            grown = -(-frames // ROPE_GROWTH) * ROPE_GROWTH
            self._rope = Rope.table(grown, self.dims.hidden // self.dims.heads, self.device, self.dtype)
        return Rope(self._rope.cos[:frames], self._rope.sin[:frames])
