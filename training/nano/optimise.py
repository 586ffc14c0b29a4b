"""AdamW with warm-up and cosine over the share of work done, and an average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Schedule:
    """`rate` after `warmup_steps`, then a cosine down to `floor * rate` when all work is done."""

    rate: float
    warmup_steps: int = 200
    floor: float = 0.02

    def at(self, step: int, progress: float) -> float:
        warm = min(1.0, (step + 1) / self.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return self.rate * warm * (self.floor + (1 - self.floor) * cosine)


class Descent:
    """One optimiser with its schedule and gradient clipping."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        schedule: Schedule,
        *,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.01,
        clip: float = 1.0,
    ) -> None:
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._schedule = schedule
        self._clip = clip
        self._adam = torch.optim.AdamW(
            self._parameters, lr=schedule.rate, betas=betas, weight_decay=weight_decay, fused=True
        )
        self.steps = 0
        self.factor = 1.0

    def step(self, loss: Tensor, progress: float) -> float:
        """Back-propagate `loss`, take one step and return the norm of the gradient before clipping."""
        self.clear()
        loss.backward()
        return self.apply(progress)

    def clear(self) -> None:
        self._adam.zero_grad(set_to_none=True)

    def apply(self, progress: float) -> float:
        """One step with the gradients that are there."""
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self._clip))
        for group in self._adam.param_groups:
            group["lr"] = self.factor * self._schedule.at(self.steps, progress)
        # A broken batch must not poison the moments for thousands of steps.
        if math.isfinite(norm):
            self._adam.step()
        self.steps += 1
        return norm

    def state_dict(self) -> dict[str, Any]:
        return {"adam": self._adam.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._adam.load_state_dict(state["adam"])
        self.steps = state["steps"]


class Average:
    """Exponential average of the floating-point state of a module; young averages follow faster."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module = module
        self._decay = decay
        self._updates = 0
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        self._updates += 1
        weight = 1 - min(self._decay, self._updates / (self._updates + 10))
        for name, value in self._module.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, weight)
            else:
                self.state[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state, "updates": self._updates}

    def adopt(self, state: dict[str, Tensor]) -> None:
        """Give these weights to the module, and begin to average anew."""
        self._module.load_state_dict(state)
        self.load_state_dict({"state": state, "updates": 0})

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        for name, value in stored["state"].items():
            self.state[name].copy_(value)
        self._updates = stored["updates"]
