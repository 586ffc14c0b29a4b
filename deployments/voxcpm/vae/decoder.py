"""AudioVAE decoder: latents to samples, whole or patch by patch with the same result (voxcpm.md 9)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from deployments.core.errors import CheckpointError
from deployments.voxcpm.dims import VaeDims
from deployments.voxcpm.vae.layers import (
    DILATIONS,
    KERNEL,
    CausalConv,
    CausalUp,
    History,
    ResidualUnit,
    VaeSnake,
    history_size,
    prepared,
)
from deployments.voxcpm.vae.loading import load_half

CONDITION = "scale_bias"  # the only way in which published decoders are told the output rate


class DecoderBlock(nn.Module):
    """(B, C, T) -> (B, C / 2, T * stride)"""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        half = channels // 2
        units = [ResidualUnit(half, dilation) for dilation in DILATIONS]
        self.block = nn.ModuleList([VaeSnake(channels), CausalUp(channels, half, stride), *units])

    def forward(self, x: Tensor, history: History) -> Tensor:
        snake, up, *units = self.block
        x = up(snake(x), history)
        for unit in units:
            x = unit(x, history)
        return x


class RateCondition(nn.Module):
    """Scale and bias of each channel by the output rate. Runs after `choose`."""

    scale: Tensor
    bias: Tensor

    def __init__(self, rates: int, channels: int) -> None:
        super().__init__()
        self.scale_embed = nn.Embedding(rates, channels)
        self.bias_embed = nn.Embedding(rates, channels)

    def choose(self, row: int) -> None:
        self.register_buffer("scale", self.scale_embed.weight[row][:, None], persistent=False)
        self.register_buffer("bias", self.bias_embed.weight[row][:, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, x, self.scale)


class VaeDecoder(nn.Module):
    def __init__(self, dims: VaeDims) -> None:
        super().__init__()
        self.hop = dims.out_hop
        self.history_frames = history_frames(dims)
        first, channels = dims.latent_dim, dims.decoder_dim
        layers: list[nn.Module] = [
            CausalConv(first, first, KERNEL, groups=first),
            CausalConv(first, channels, 1),
        ]
        conditions: dict[str, RateCondition] = {}
        for stride in dims.decoder_strides:
            if dims.sr_bin_boundaries:
                conditions[str(len(layers))] = RateCondition(len(dims.sr_bin_boundaries) + 1, channels)
            layers.append(DecoderBlock(channels, stride))
            channels //= 2
        self.model = nn.ModuleList([*layers, VaeSnake(channels), CausalConv(channels, 1, KERNEL)])
        if conditions:
            self.sr_cond_model = nn.ModuleDict(conditions)
            self.register_buffer(
                "sr_bin_boundaries", torch.zeros(len(dims.sr_bin_boundaries), dtype=torch.int32)
            )
        self._conditions = conditions
        self.history_size = history_size(self)

    def choose_rate(self, rate_hz: int) -> None:
        """Which output rate the decoder is told; the number of samples does not depend on it."""
        if self._conditions:
            row = int((self.get_buffer("sr_bin_boundaries") < rate_hz).sum())
            for condition in self._conditions.values():
                condition.choose(row)

    @torch.inference_mode()
    def forward(self, latents: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latents (B, D, T) -> samples (B, hop * T) in [-1, 1], and the rows of the History for what follows.

        `rows` (B, history_size) is what came before; none: the beginning.
        """
        history = History(latents.new_zeros(len(latents), self.history_size) if rows is None else rows)
        first, widen, *blocks, snake, last = self.model
        x = widen(first(latents, history), history)
        for index, block in enumerate(blocks, start=2):
            if self._conditions:
                x = self._conditions[str(index)](x)
            x = block(x, history)
        return last(snake(x), history)[:, 0].tanh(), history.after()


class StreamingDecoder:
    """Decodes many streams patch by patch, each with its own history in a slot.

    `step` neither waits for the device nor copies to it, and reads and writes the same memory each time, so it can be
    captured in a CUDA graph. Rows that only fill a batch may all name one slot that nobody uses.
    """

    def __init__(self, network: VaeDecoder, slots: int, device: torch.device | str) -> None:
        self._network = network
        self._history = torch.zeros(slots, network.history_size, device=device)

    @torch.inference_mode()
    def reset(self, slot: int) -> None:
        """A new stream begins in `slot`."""
        self._history[slot].zero_()

    @torch.inference_mode()
    def prime(self, slot: int, frames: Tensor) -> None:
        """A new stream begins in `slot` and continues the latents `frames` (D, T), whose samples nobody wants.

        Of a longer past only the last `history_frames` matter; T may be 0.
        """
        self.reset(slot)
        if frames.shape[1]:
            kept = frames[None, :, -self._network.history_frames :]
            _, rows = self._network(kept.to(self._history))
            self._history[slot] = rows[0]

    @torch.inference_mode()
    def step(self, slots: Tensor, latents: Tensor) -> Tensor:
        """The next samples of the streams in `slots`, which differ: int64 (B,), latents (B, D, P) -> (B, P * hop)."""
        samples: Tensor
        samples, rows = self._network(latents, self._history.index_select(0, slots))
        self._history.index_copy_(0, slots, rows)
        return samples


def history_frames(dims: VaeDims) -> int:
    """Latent frames before a frame that its samples depend on: 19, 21, 20 for 0.5B, 1.5, 2."""
    first = 1 - KERNEL  # of the input of each layer, for the first sample of frame 0
    for stride in reversed(dims.decoder_strides):
        first -= sum(DILATIONS) * (KERNEL - 1)
        first = first // stride - 1
    return KERNEL - 1 - first


def load_decoder(
    tensors: Mapping[str, Tensor],
    dims: VaeDims,
    *,
    source: str,
    device: torch.device | str = "cpu",
    rate_hz: int | None = None,
) -> VaeDecoder:
    """From all tensors of the VAE's file, for the output rate of the dims if no other is named.

    `source` names the file in errors. Raises CheckpointError.
    """
    if dims.sr_bin_boundaries and dims.cond_type != CONDITION:
        raise CheckpointError(f"{source}: cond_type is {dims.cond_type!r}, only {CONDITION!r} is supported")
    network = load_half(lambda: VaeDecoder(dims), tensors, "decoder", dims, source=source)
    network = prepared(network)
    network.choose_rate(rate_hz or dims.out_sample_rate_hz)
    return network.to(device)
