"""Patches on their way from noise, one Euler step at a time for any mixture of rows (voxcpm.md 7)."""

from __future__ import annotations

import torch
from torch import Tensor

from deployments.voxcpm.lm.rope import Rotation
from deployments.voxcpm.patch.times import TimeTable
from deployments.voxcpm.patch.velocity import VelocityNetwork

LEAST_SQUARE = 1e-8  # added to |v0|²


class PatchSolver:
    """Rows lie in buffers of fixed place, each with its own guidance and number of steps; a row that has ended stays as
    it is. Neither method waits for the device or copies to it, so both can be captured in CUDA graphs."""

    def __init__(
        self, network: VelocityNetwork, times: TimeTable, rows: int, rotation: Rotation | None
    ) -> None:
        """`rotation` of the network's `positions`, None without RoPE."""
        self._network = network
        self._times = times
        self._rotation = rotation
        weight = network.in_proj.bias
        size, latent_dim = network.patch_size, network.out_proj.bias.shape[0]

        def buffer(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(rows, *shape, dtype=dtype, device=weight.device)

        self.x = buffer(size, latent_dim, dtype=torch.float32)
        self._guidance = buffer(1, 1, dtype=torch.float32)
        self._first = buffer(dtype=torch.int64)  # entry of the time table
        self._evaluations = buffer(dtype=torch.int64)
        self._mu = buffer(network.mu_tokens, network.hidden, dtype=weight.dtype)
        self._cond = buffer(size, network.hidden, dtype=weight.dtype)
        self._done = torch.zeros(1, dtype=torch.int64, device=weight.device)

    def begin(
        self,
        noise: Tensor,
        mu: Tensor,
        previous: Tensor,
        *,
        guidance: Tensor,
        first: Tensor,
        evaluations: Tensor,
    ) -> None:
        """Start the first B rows; what they come to is in `x` after their last Euler step.

        noise (B, P, D); mu (B, mu_tokens, hidden); previous patch (B, P, D), zeros if there is none; guidance (B,);
        first, evaluations (B,): of each row's entries in the time table.
        """
        rows = len(mu)
        self.x[:rows] = noise
        self._mu[:rows] = mu
        self._cond[:rows] = self._network.cond_proj(previous.to(mu.dtype))
        self._guidance[:rows, 0, 0] = guidance
        self._first[:rows] = first
        self._evaluations[:rows] = evaluations
        self._done.zero_()

    def euler(self, rows: int) -> None:
        """One step of the first `rows` rows; both branches of the guidance in one batch."""
        x, mu, cond = self.x[:rows], self._mu[:rows], self._cond[:rows]
        running = self._done < self._evaluations[:rows]
        entries = torch.where(running, self._first[:rows] + self._done, 0)
        tau = self._times.taus.index_select(0, entries)
        delta = torch.where(running, self._times.deltas.index_select(0, entries), 0.0)
        both = self._network(
            torch.cat((x, x)).to(mu.dtype),
            torch.cat((mu, torch.zeros_like(mu))),
            torch.cat((tau, tau)),
            torch.cat((cond, cond)),
            self._rotation,
        )
        conditioned, free = both.float().chunk(2)
        x -= delta[:, None, None] * guided(conditioned, free, self._guidance[:rows])
        self._done += 1


def guided(conditioned: Tensor, free: Tensor, guidance: Tensor) -> Tensor:
    """Velocities (B, P, D) with and without condition, guidance (B, 1, 1): the free one is first scaled to its share of
    the conditioned one, over the whole patch."""
    product, square = ((a * free).flatten(1).sum(1)[:, None, None] for a in (conditioned, free))
    scaled = product / (square + LEAST_SQUARE) * free
    return scaled + guidance * (conditioned - scaled)
