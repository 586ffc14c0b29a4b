"""AudioVAE encoder: recordings to patches of latents (voxcpm.md 9, 10)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployments.core.speech import Samples
from deployments.voxcpm.dims import VaeDims
from deployments.voxcpm.vae.layers import (
    DILATIONS,
    KERNEL,
    CausalConv,
    History,
    ResidualUnit,
    VaeSnake,
    history_size,
    prepared,
)
from deployments.voxcpm.vae.loading import load_half

MEAN_KERNEL = 3
UNUSED = "fc_logvar."  # tensors for training alone
WINDOW_FRAMES = 50  # encoded at once, 2 s: bounds the memory, and fits the caches of a CPU
Patches = npt.NDArray[np.float32]  # (T, P, D)


class EncoderBlock(nn.Module):
    """(B, C, T) -> (B, 2 C, T / stride)"""

    def __init__(self, channels: int, stride: int, left: int) -> None:
        super().__init__()
        down = CausalConv(channels, 2 * channels, 2 * stride, stride=stride, past=left)
        units = [ResidualUnit(channels, dilation) for dilation in DILATIONS]
        self.block = nn.ModuleList([*units, VaeSnake(channels), down])

    def forward(self, x: Tensor, history: History) -> Tensor:
        *units, snake, down = self.block
        for unit in units:
            x = unit(x, history)
        out: Tensor = down(snake(x), history)
        return out


class VaeEncoder(nn.Module):
    """Mean of the latents; nothing is drawn."""

    def __init__(self, dims: VaeDims) -> None:
        super().__init__()
        channels = dims.encoder_dim
        self.block = nn.ModuleList([CausalConv(1, channels, KERNEL)])
        for stride in dims.encoder_strides:
            # A convolution of an odd stride is one sample earlier in 1.x.
            left = stride if dims.pads_by_stride else 2 * math.ceil(stride / 2)
            self.block.append(EncoderBlock(channels, stride, left))
            channels *= 2
        self.fc_mu = CausalConv(channels, dims.latent_dim, MEAN_KERNEL)
        self.hop = dims.in_hop
        self.history_size = history_size(self)

    @torch.inference_mode()
    def forward(self, samples: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Samples (B, hop * T) -> latents (B, D, T), and the rows of the History for what follows.

        `rows` (B, history_size) is what came before; none: the beginning.
        """
        history = History(samples.new_zeros(len(samples), self.history_size) if rows is None else rows)
        x = samples[:, None]
        for block in self.block:
            x = block(x, history)
        return self.fc_mu(x, history), history.after()


@dataclass(frozen=True, slots=True)
class Clip:
    """Mono samples at the VAE's input rate. Zeros fill the first patch of a prompt, so that its end stays where the new
    audio begins, and the last patch of a reference."""

    samples: Samples
    use: Literal["prompt", "reference"]


class PatchEncoder:
    """Recordings of any lengths become patches. Blocking: call it from a thread."""

    def __init__(self, network: VaeEncoder, patch_size: int, *, device: torch.device | str = "cpu") -> None:
        self._network = network
        self._patch_size = patch_size
        self._device = torch.device(device)

    def patches(self, clips: Sequence[Clip]) -> list[Patches]:
        """Of each clip (T, P, D)."""
        latents = self.latents([self._whole_patches(clip) for clip in clips])
        return [x.unflatten(1, (-1, self._patch_size)).permute(1, 2, 0).contiguous().numpy() for x in latents]

    def _whole_patches(self, clip: Clip) -> Samples:
        missing = -len(clip.samples) % (self._patch_size * self._network.hop)
        return np.pad(clip.samples, (missing, 0) if clip.use == "prompt" else (0, missing))

    def latents(self, waves: Sequence[Samples]) -> list[Tensor]:
        """(D, frames) of each wave, which is filled with zeros up to a whole frame."""
        hop = self._network.hop
        frames = [math.ceil(len(wave) / hop) for wave in waves]
        longest_first = sorted(range(len(waves)), key=lambda i: -frames[i])
        batch = torch.stack(
            [F.pad(torch.from_numpy(waves[i]), (0, max(frames) * hop - len(waves[i]))) for i in longest_first]
        ).to(self._device, torch.float32)
        pieces: list[list[Tensor]] = [[] for _ in waves]
        rows: Tensor | None = None
        for first in range(0, max(frames), WINDOW_FRAMES):
            members = [i for i in longest_first if frames[i] > first]  # always the first rows of the batch
            window = batch[: len(members), first * hop : (first + WINDOW_FRAMES) * hop]
            latents, rows = self._network(window, None if rows is None else rows[: len(members)])
            for i, piece in zip(members, latents, strict=True):
                pieces[i].append(piece)
        return [torch.cat(pieces[i], dim=-1)[:, : frames[i]].cpu() for i in range(len(waves))]


def load_encoder(
    tensors: Mapping[str, Tensor], dims: VaeDims, *, source: str, device: torch.device | str = "cpu"
) -> VaeEncoder:
    """From all tensors of the VAE's file. `source` names it in errors. Raises CheckpointError."""
    network = load_half(
        lambda: VaeEncoder(dims),
        tensors,
        "encoder",
        dims,
        source=source,
        unused=lambda name: name.startswith(UNUSED),
    )
    return prepared(network).to(device)
