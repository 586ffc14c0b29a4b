"""The times of the Euler steps and their time vectors, tabulated for every number of steps (voxcpm.md 7, 11)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from deployments.voxcpm.dims import MAX_EULER_STEPS
from deployments.voxcpm.patch.velocity import VelocityNetwork

UNMOVED_SHARE = 0.04  # of the steps, at the start; at least one step


@dataclass(frozen=True)
class TimeGrid:
    """Of one number of steps: times at which the network is evaluated, and by how much each evaluation moves on."""

    times: Tensor  # (evaluations,) in the type that the grid was made in
    deltas: Tensor  # (evaluations,) likewise

    @property
    def evaluations(self) -> int:
        return len(self.times)


@lru_cache
def time_grid(steps: int, dtype: torch.dtype) -> TimeGrid:
    """From t = 1 down to 0, denser near 1, worked out in `dtype` as in training. The first steps do nothing."""
    if not 1 <= steps <= MAX_EULER_STEPS:
        raise ValueError(f"{steps} Euler steps: 1 to {MAX_EULER_STEPS} are possible")
    even = torch.linspace(1, 0, steps + 1, dtype=dtype)
    times = even + (torch.cos(torch.pi / 2 * even) - 1 + even)
    unmoved = max(1, int(UNMOVED_SHARE * (steps + 1)))
    return TimeGrid(times[unmoved:-1], times[unmoved:-1] - times[unmoved + 1 :])


def time_embedding(times: Tensor, width: int) -> Tensor:
    """(N,) -> (N, width): all sines, then all cosines; in the type of `times`, of which bfloat16 keeps little."""
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=times.dtype) * -(math.log(10000) / (half - 1)))
    angles = 1000 * times.unsqueeze(1) * rates.unsqueeze(0)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


class TimeTable:
    """taus (entries, hidden) in the network's type and deltas (entries,) float32, on its device. The entries of a
    number of steps lie behind one another, from `first(steps)` on."""

    @torch.inference_mode()
    def __init__(self, network: VelocityNetwork, dtype: torch.dtype) -> None:
        """`dtype`: that of the checkpoint's training, whatever type it computes in here."""
        weight = network.delta_time_mlp.linear_1.bias
        grids = [time_grid(steps, dtype) for steps in range(1, MAX_EULER_STEPS + 1)]
        self._evaluations = [grid.evaluations for grid in grids]
        width = network.hidden
        embedding, of_zero = (
            time_embedding(times, width).to(weight.device, weight.dtype)
            for times in (torch.cat([grid.times for grid in grids]), torch.zeros(1, dtype=dtype))
        )
        self.taus = network.tau(embedding, of_zero)
        self.deltas = torch.cat([grid.deltas for grid in grids]).float().to(weight.device)

    def evaluations(self, steps: int) -> int:
        """Of the network, in `steps` Euler steps."""
        return self._evaluations[steps - 1]

    def first(self, steps: int) -> int:
        return sum(self._evaluations[: steps - 1])
