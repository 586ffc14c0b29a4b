"""Small discriminators for the vocoder (recipe.md 7), and a round against any; training only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from training.nano.optimise import Descent

PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = (2048, 1024, 512)
_SLOPE = 0.1


class PeriodDiscriminator(nn.Module):
    """The wave folded to (frames, period), strided convolutions along the frames."""

    def __init__(self, period: int, channels: tuple[int, ...] = (8, 16, 32, 64)) -> None:
        super().__init__()
        self.period = period
        sizes = (1, *channels)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (3, 1), (2, 0)))
            for before, after in zip(sizes, channels, strict=False)
        )
        self.out = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wave: Tensor) -> list[Tensor]:
        """(B, N) to the maps of all layers, scores last."""
        rest = -wave.shape[-1] % self.period
        x = F.pad(wave[:, None], (0, rest), mode="reflect").unflatten(-1, (-1, self.period))
        return maps_of(self.layers, self.out, x)


class SpectrumDiscriminator(nn.Module):
    """Real and imaginary part of an STFT, compressed by a sign-keeping square root."""

    window: Tensor

    def __init__(self, size: int, channels: int = 16) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        shapes = [(2, (1, 1)), (channels, (1, 2)), (channels, (1, 2)), (channels, (1, 2))]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, channels, (3, 9), stride, (1, 4))) for before, stride in shapes
        )
        self.out = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, wave: Tensor) -> list[Tensor]:
        spectrum = torch.stft(
            wave.float(), self.size, self.size // 4, window=self.window, return_complex=True
        )
        parts = torch.view_as_real(spectrum).permute(0, 3, 2, 1)
        return maps_of(self.layers, self.out, parts.sign() * (parts.abs() + 1e-7).sqrt())


class Discriminators(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            [
                *(PeriodDiscriminator(period) for period in PERIODS),
                *(SpectrumDiscriminator(n) for n in RESOLUTIONS),
            ]
        )

    def forward(self, wave: Tensor) -> list[list[Tensor]]:
        return [member(wave) for member in self.members]


def maps_of(layers: nn.ModuleList, out: nn.Module, x: Tensor) -> list[Tensor]:
    """What every layer makes of x, scores last."""
    found = []
    for layer in layers:
        x = F.leaky_relu(layer(x), _SLOPE)
        found.append(x)
    return [*found, out(x).float()]


def judge_loss(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """Least squares: real scores to 1, fake ones to 0."""
    losses = [(1 - a[-1]).square().mean() + b[-1].square().mean() for a, b in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def fool_loss(real: list[list[Tensor]], fake: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
    """Adversarial loss of the generator and the distance of the inner maps."""
    adversarial = torch.stack([(1 - maps[-1]).square().mean() for maps in fake]).mean()
    distances = [
        F.l1_loss(b, a.detach())
        for maps_a, maps_b in zip(real, fake, strict=True)
        for a, b in zip(maps_a[:-1], maps_b[:-1], strict=True)
    ]
    return adversarial, torch.stack(distances).mean()


@dataclass(frozen=True)
class Contest:
    """Losses of a round: of the judges, and of what they judged."""

    judged: Tensor
    adversarial: Tensor
    matching: Tensor

    def figures(self) -> dict[str, float]:
        return {name: value.item() for name, value in vars(self).items()}


def contest(judges: nn.Module, descent: Descent, real: Tensor, fake: Tensor, progress: float) -> Contest:
    """The judges take a step, then say what they think of `fake`, whose graph is kept; theirs is not."""
    with torch.autocast(real.device.type, torch.bfloat16):
        real_maps = judges(real)
        judged = judge_loss(real_maps, judges(fake.detach()))
    descent.step(judged, progress)
    judges.requires_grad_(False)
    with torch.autocast(real.device.type, torch.bfloat16):
        adversarial, matching = fool_loss(real_maps, judges(fake))
    judges.requires_grad_(True)
    return Contest(judged, adversarial, matching)
