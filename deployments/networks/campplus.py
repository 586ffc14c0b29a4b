"""CAM++ speaker style: a densely connected TDNN with context-aware masks (indextts2-back.md 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.compliance import kaldi

from deployments.core.errors import CheckpointError
from deployments.weights.tensors import load_strict, read_tensors, without_values

SEGMENT = 100  # time steps per context window
DILATIONS = (1, 2, 2)  # of the dense blocks
FREQUENCY_REDUCTION = 8  # of the two-dimensional head
BATCH_NORM_EPS = 1e-5
SAMPLE_RATE_HZ = 16_000
LEAST_SAMPLES = 400  # one frame of the filter banks


@dataclass(frozen=True)
class CampplusDims:
    bands: int
    head: int
    init: int
    growth: int
    bottleneck: int
    embedding: int
    blocks: tuple[int, ...]  # layers of each dense block

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], *, source: str = "CAM++ tensors") -> CampplusDims:
        """Widths from the shapes of the weights; no file states them."""
        try:
            head = tensors["head.conv1.weight"].shape[0]
            init, flat, _ = tensors["xvector.tdnn.linear.weight"].shape
            first = "xvector.block1.tdnnd1"
            return cls(
                bands=flat // head * FREQUENCY_REDUCTION,
                head=head,
                init=init,
                growth=tensors[f"{first}.cam_layer.linear_local.weight"].shape[0],
                bottleneck=tensors[f"{first}.linear1.weight"].shape[0],
                embedding=tensors["xvector.dense.linear.weight"].shape[0],
                blocks=tuple(_layers(tensors, block) for block in range(1, len(DILATIONS) + 1)),
            )
        except KeyError as error:
            raise CheckpointError(f"{source}: no tensor {error}; is this campplus_cn_common.bin?") from None


def _layers(tensors: Mapping[str, Tensor], block: int) -> int:
    return next(i for i in count() if f"xvector.block{block}.tdnnd{i + 1}.linear1.weight" not in tensors)


class BatchNorm(nn.Module):
    """Batch norm at inference, over dim 1; unlike torch's it has no step counter, which files may lack."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=BATCH_NORM_EPS
        )


class NormRelu(nn.Module):
    """A batch norm under the name `batchnorm`, then ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.batchnorm = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.batchnorm(x).relu_()


class ResidualBlock(nn.Module):
    """Strides act on the frequency axis only."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), padding=1, bias=False)
        self.bn1 = BatchNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.append(nn.Conv2d(channels, channels, 1, (stride, 1), bias=False))
            self.shortcut.append(BatchNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu_()
        return (self.bn2(self.conv2(y)) + self.shortcut(x)).relu_()


class Head(nn.Module):
    """(B, bands, T) -> (B, channels * bands / 8, T)"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = BatchNorm(channels)
        self.layer1 = nn.Sequential(ResidualBlock(channels, 2), ResidualBlock(channels, 1))
        self.layer2 = nn.Sequential(ResidualBlock(channels, 2), ResidualBlock(channels, 1))
        self.conv2 = nn.Conv2d(channels, channels, 3, (2, 1), padding=1, bias=False)
        self.bn2 = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x[:, None])).relu_()
        y = self.bn2(self.conv2(self.layer2(self.layer1(y)))).relu_()
        return y.flatten(1, 2)


class ContextMask(nn.Module):
    """A convolution, masked by what the whole utterance and the segment around each step look like."""

    def __init__(self, channels: int, out: int, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(channels, out, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(channels, channels // 2, 1)
        self.linear2 = nn.Conv1d(channels // 2, out, 1)

    def forward(self, a: Tensor) -> Tensor:
        # In ceil mode the last, partial window is averaged over its true length.
        segments = F.avg_pool1d(a, SEGMENT, SEGMENT, ceil_mode=True) + a.mean(dim=-1, keepdim=True)
        mask = self.linear2(self.linear1(segments).relu_()).sigmoid()
        return self.linear_local(a) * mask.repeat_interleave(SEGMENT, dim=-1)[..., : a.shape[-1]]


class DenseLayer(nn.Module):
    def __init__(self, channels: int, dims: CampplusDims, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = NormRelu(channels)
        self.linear1 = nn.Conv1d(channels, dims.bottleneck, 1, bias=False)
        self.nonlinear2 = NormRelu(dims.bottleneck)
        self.cam_layer = ContextMask(dims.bottleneck, dims.growth, dilation)

    def forward(self, x: Tensor) -> Tensor:
        new = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))
        return torch.cat([x, new], dim=1)


class Tdnn(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, out, 5, stride=2, padding=2, bias=False)
        self.nonlinear = NormRelu(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.nonlinear(self.linear(x))


class Transit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nonlinear = NormRelu(channels)
        self.linear = nn.Conv1d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.nonlinear(x))


class StatisticsPool(nn.Module):
    """(B, C, T) -> (B, 2 C): mean and unbiased standard deviation over time."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(dim=-1), x.std(dim=-1, unbiased=True)], dim=-1)


class Dense(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, out, 1, bias=False)
        self.nonlinear = nn.ModuleDict({"batchnorm": BatchNorm(out, affine=False)})

    def forward(self, x: Tensor) -> Tensor:
        return self.nonlinear["batchnorm"](self.linear(x[..., None])[..., 0])


class Campplus(nn.Module):
    """Whole utterances of equal length only: statistics run over all frames."""

    def __init__(self, dims: CampplusDims) -> None:
        super().__init__()
        self.dims = dims
        self.head = Head(dims.head)
        channels = dims.init
        parts: dict[str, nn.Module] = {"tdnn": Tdnn(dims.head * dims.bands // FREQUENCY_REDUCTION, channels)}
        for i, (layers, dilation) in enumerate(zip(dims.blocks, DILATIONS, strict=True), start=1):
            block = nn.Sequential()
            for layer in range(1, layers + 1):
                block.add_module(f"tdnnd{layer}", DenseLayer(channels, dims, dilation))
                channels += dims.growth
            parts |= {f"block{i}": block, f"transit{i}": Transit(channels)}
            channels //= 2
        parts |= {"out_nonlinear": NormRelu(channels), "stats": StatisticsPool()}
        parts["dense"] = Dense(2 * channels, dims.embedding)
        self.xvector = nn.Sequential()
        for name, part in parts.items():
            self.xvector.add_module(name, part)

    @staticmethod
    def unused(name: str) -> bool:
        return name.endswith(".num_batches_tracked")

    @torch.inference_mode()
    def features(self, wave: Tensor) -> Tensor:
        """(N,) float32 at 16 kHz in [-1, 1], not scaled to int16 -> Kaldi filter banks (1 + (N - 400) // 160, bands),
        less their mean over the utterance (2.1). ValueError if there is no complete frame."""
        if wave.dim() != 1 or wave.shape[0] < LEAST_SAMPLES:
            raise ValueError(
                f"need one wave of {LEAST_SAMPLES} samples or more, got shape {tuple(wave.shape)}"
            )
        bands = self.dims.bands
        return kaldi.fbank(
            wave[None], num_mel_bins=bands, sample_frequency=SAMPLE_RATE_HZ, subtract_mean=True
        )

    @torch.inference_mode()
    def forward(self, features: Tensor) -> Tensor:
        """Centred filter banks (B, N_f, bands) -> style (B, embedding), not normalised in length."""
        return self.xvector(self.head(features.mT))


def load_campplus(source: Path | Mapping[str, Tensor], *, device: torch.device | str = "cpu") -> Campplus:
    """From `campplus_cn_common.bin` or its tensors. CheckpointError if they are not those of the network."""
    tensors = read_tensors(source) if isinstance(source, Path) else source
    name = str(source) if isinstance(source, Path) else "CAM++ tensors"
    with without_values():
        network = Campplus(CampplusDims.from_tensors(tensors, source=name))
    load_strict(network, tensors, source=name, unused=Campplus.unused)
    return network.to(device)
