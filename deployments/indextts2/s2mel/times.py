"""Everything in the estimator that depends on the flow time alone, computed once per time value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deployments.indextts2.s2mel.dims import TIME_FREQUENCIES

MAX_TIMES = 512  # about 150 kB each at full size


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


class TimeCache:
    """Time projections by time value. Step grids are few and fixed, so nearly every look-up hits."""

    def __init__(self, project: Callable[[Tensor], TimeProjections], device: torch.device) -> None:
        self._project = project
        self._device = device
        self._known: dict[float, TimeProjections] = {}

    def batch(self, times: Sequence[float]) -> TimeProjections:
        """Projections of one time per row; with N = 1 if all rows share one time."""
        distinct = list(dict.fromkeys(times))
        found = [self._one(t) for t in distinct]
        if len(found) == 1:
            return found[0]
        index = torch.tensor([distinct.index(t) for t in times], device=self._device)
        return TimeProjections(
            norms=torch.cat([one.norms for one in found], dim=1).index_select(1, index),
            wavenet=torch.cat([one.wavenet for one in found], dim=1).index_select(1, index),
            final=torch.cat([one.final for one in found], dim=0).index_select(0, index),
        )

    def _one(self, t: float) -> TimeProjections:
        if t not in self._known:
            if len(self._known) >= MAX_TIMES:
                del self._known[next(iter(self._known))]
            self._known[t] = self._project(torch.tensor([t], dtype=torch.float32, device=self._device))
        return self._known[t]
