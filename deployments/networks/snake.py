"""Anti-aliased SnakeBeta: upsample by two, periodic nonlinearity, downsample by two (indextts2-back.md 5).

The even and odd samples of the upsampled signal u are kept apart, (B, C, 2, T), so that nothing has to
interleave them: u[2m] reads x[m-3..m+2] and u[2m+1] reads x[m-2..m+3]; y[m] reads u[2m-5..2m+6].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TAPS = 12
REACH = 3  # samples to each side, at the lower rate, of one filter
DEPTH_EPSILON = 1e-9


def lowpass() -> Tensor:
    """The filter of every activation, (1, 1, 12), for files that left it out: a Kaiser-windowed sinc."""
    attenuation = 2.285 * (TAPS // 2 - 1) * torch.pi * (4 * 0.3) + 7.95
    beta = 0.1102 * (attenuation - 8.7)
    time = torch.arange(TAPS) - (TAPS - 1) / 2
    taps = 0.5 * torch.kaiser_window(TAPS, periodic=False, beta=beta) * torch.sinc(0.5 * time)
    return (taps / taps.sum()).view(1, 1, TAPS)


class Filter(nn.Module):
    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", torch.empty(1, 1, TAPS))


class Lowpass(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lowpass = Filter()


class Snake(nn.Module):
    """Per-channel frequency and depth, as logarithms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(channels))
        self.beta = nn.Parameter(torch.empty(channels))


class Activation(nn.Module):
    """(B, C, T) -> (B, C, T). Runs after `prepare`."""

    frequency: Tensor
    root_depth: Tensor
    up: Tensor
    down: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.act = Snake(channels)
        self.upsample = Filter()
        self.downsample = Lowpass()
        self.up_taps: Sequence[Sequence[float]] = ()
        self.down_taps: Sequence[Sequence[float]] = ()

    def prepare(self) -> None:
        """Bring the parameters into the form that `forward` reads."""
        self.register_buffer("frequency", self.act.alpha.exp()[:, None, None], persistent=False)
        # sin^2 / depth is computed as (sin / sqrt(depth))^2, one pass less.
        depth = self.act.beta.exp() + DEPTH_EPSILON
        self.register_buffer("root_depth", depth.rsqrt()[:, None, None], persistent=False)
        up, down = self.upsample.filter.flatten(), self.downsample.lowpass.filter.flatten()
        taps = torch.zeros(2, 2, 2 * REACH + 1)
        taps[0, 0, :-1], taps[0, 1, 1:] = 2 * up[1::2].flip(0), 2 * up[0::2].flip(0)
        taps[1, 0, 1:], taps[1, 1, :-1] = down[1::2], down[0::2]
        self.up_taps, self.down_taps = taps.tolist()
        self.register_buffer("up", taps[0, :, None].repeat(self.channels, 1, 1), persistent=False)
        self.register_buffer("down", taps[1, None].repeat(self.channels, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.shape[-1]
        padded = F.pad(x, (2 * REACH, 2 * REACH), mode="replicate")
        # On a CPU, sums of shifted rows take half the time of grouped convolutions with so short filters.
        by_shifts = x.device.type == "cpu"
        phases = self.upsample_by_shifts(padded) if by_shifts else self.upsample_by_convolution(padded)
        wave = (phases * self.frequency).sin_().mul_(self.root_depth)
        phases.addcmul_(wave, wave)
        # The upsampled signal, not x, is what is replicated over the edges.
        phases[..., :REACH] = phases[:, :, :1, REACH : REACH + 1]
        phases[..., frames + REACH :] = phases[:, :, 1:, frames + REACH - 1 : frames + REACH]
        return self.downsample_by_shifts(phases) if by_shifts else self.downsample_by_convolution(phases)

    def upsample_by_convolution(self, padded: Tensor) -> Tensor:
        """(B, C, N + 6) -> (B, C, 2, N)"""
        return F.conv1d(padded, self.up, groups=self.channels).unflatten(1, (self.channels, 2))

    def downsample_by_convolution(self, phases: Tensor) -> Tensor:
        """(B, C, 2, N + 6) -> (B, C, N)"""
        return F.conv1d(phases.flatten(1, 2), self.down, groups=self.channels)

    def upsample_by_shifts(self, padded: Tensor) -> Tensor:
        """(B, C, N + 6) -> (B, C, 2, N)"""
        batch, channels, total = padded.shape
        phases = padded.new_zeros(batch, channels, 2, total - 2 * REACH)
        for phase, weights in enumerate(self.up_taps):
            _add_shifted(padded, weights, phases[:, :, phase])
        return phases

    def downsample_by_shifts(self, phases: Tensor) -> Tensor:
        """(B, C, 2, N + 6) -> (B, C, N)"""
        batch, channels, _, total = phases.shape
        out = phases.new_zeros(batch, channels, total - 2 * REACH)
        for phase, weights in enumerate(self.down_taps):
            _add_shifted(phases[:, :, phase], weights, out)
        return out


def _add_shifted(x: Tensor, weights: Sequence[float], out: Tensor) -> None:
    """Correlate x with `weights` along its last dim and add to `out`."""
    for shift, weight in enumerate(weights):
        if weight:
            out.add_(x[..., shift : shift + out.shape[-1]], alpha=weight)
