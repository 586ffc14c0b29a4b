"""The second half of a step: from the states of all rows to their next patches and samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deployments.core.speech import Samples
from deployments.engine.cuda_graphs import GraphedWork, row_buckets, smallest
from deployments.voxcpm.network import VoxCPMNetwork
from deployments.voxcpm.patch.flow import PatchSolver
from deployments.voxcpm.patch.times import TimeTable
from deployments.voxcpm.step.job import Patches
from deployments.voxcpm.step.states import SlotStates


class WaveDecoder(Protocol):
    """See deployments.voxcpm.vae.decoder: one stream per slot."""

    def reset(self, slot: int) -> None: ...

    def prime(self, slot: int, frames: Tensor) -> None: ...

    def step(self, slots: Tensor, latents: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True, eq=False)
class PatchTask:
    """The next patch of a row."""

    slot: int
    noise: npt.NDArray[np.float32]  # (P, D)
    guidance: float
    euler_steps: int


@dataclass(frozen=True, slots=True, eq=False)
class MadePatch:
    samples: Samples
    patches: Patches  # (1, P, D)
    stop: bool  # whether the model wishes to end after this patch


class PatchDecoding:
    """Euler steps and VAE of any rows at once, in static buffers: `works` can be captured as CUDA graphs.

    Rows lie by falling number of evaluations, so that each evaluation takes a beginning of them.
    """

    def __init__(
        self, network: VoxCPMNetwork, states: SlotStates, wave: WaveDecoder, times: TimeTable
    ) -> None:
        self._network = network
        self._states = states
        self._wave = wave
        self._times = times
        buckets = row_buckets(states.scratch)
        self._bucket: Callable[[int], int] = lambda rows: smallest(buckets, rows)
        most = buckets[-1]
        if network.device.type == "cpu":  # there nothing is gained by few shapes
            self._bucket = network.padded_sequences
            most = network.padded_sequences(states.scratch)
        dims, device = network.dims, network.device
        self._solver = PatchSolver(network.velocity, times, most, network.decoder_rotation())
        # Slot, first entry of the time table, evaluations.
        self._plan = torch.zeros(most, 3, dtype=torch.int64, device=device)
        self._plan[:, 0] = states.scratch
        # Noise, guidance.
        self._start = torch.zeros(most, dims.patch_size * dims.latent_dim + 1, device=device)
        self._stop = torch.zeros(most, 2, device=device)
        largest_first = list(reversed(buckets))
        self._begin = GraphedWork(self._begin_rows, largest_first)
        self._euler = GraphedWork(self._solver.euler, largest_first)
        self._end = GraphedWork(self._end_rows, largest_first)

    @property
    def works(self) -> list[GraphedWork[Any, Any]]:
        return [self._begin, self._euler, self._end]

    def decode(self, tasks: Sequence[PatchTask]) -> list[MadePatch]:
        """In the order of the tasks; waits for the device once."""
        evaluations = [self._times.evaluations(task.euler_steps) for task in tasks]
        order = sorted(range(len(tasks)), key=lambda index: -evaluations[index])
        rows = self._bucket(len(tasks))
        self._upload([tasks[index] for index in order], rows)
        self._begin(rows)
        for done in range(max(evaluations)):
            self._euler(self._bucket(sum(count > done for count in evaluations)))
        made = self._end(rows)[: len(tasks)].cpu().numpy()
        found = dict(zip(order, map(self._made, made), strict=True))
        return [found[index] for index in range(len(tasks))]

    def _upload(self, tasks: Sequence[PatchTask], rows: int) -> None:
        plan = np.zeros((rows, 3), np.int64)
        plan[:, 0] = self._states.scratch
        start = np.zeros((rows, self._start.shape[1]), np.float32)
        for row, task in enumerate(tasks):
            times = self._times
            plan[row] = task.slot, times.first(task.euler_steps), times.evaluations(task.euler_steps)
            start[row, :-1], start[row, -1] = task.noise.reshape(-1), task.guidance
        self._plan[:rows].copy_(torch.from_numpy(plan))
        self._start[:rows].copy_(torch.from_numpy(start))

    def _begin_rows(self, rows: int) -> None:
        slots, first, evaluations = self._plan[:rows].unbind(1)
        base, residual = (
            states.index_select(0, slots) for states in (self._states.base, self._states.residual)
        )
        self._stop[:rows] = self._network.stop_logits(base)
        previous = self._states.patch.index_select(0, slots)
        start = self._start[:rows]
        self._solver.begin(
            start[:, :-1].view_as(previous),
            self._network.conditions(base, residual),
            previous,
            guidance=start[:, -1],
            first=first,
            evaluations=evaluations,
        )

    def _end_rows(self, rows: int) -> Tensor:
        """(rows, samples + P · D + 2): samples, patch, stop logits."""
        slots = self._plan[:rows, 0]
        patches = self._solver.x[:rows]
        self._states.patch[slots] = patches
        return torch.cat((self._samples(slots, patches.mT), patches.flatten(1), self._stop[:rows]), dim=1)

    def _samples(self, slots: Tensor, latents: Tensor) -> Tensor:
        """(B,), (B, D, P) -> (B, samples)"""
        if latents.device.type != "cpu":
            return self._wave.step(slots, latents)
        # There convolutions give a row other bits in another batch, and gain little from one.
        alone = zip(slots.split(1), latents.split(1), strict=True)
        return torch.cat([self._wave.step(slot, latent) for slot, latent in alone])

    def _made(self, row: npt.NDArray[np.float32]) -> MadePatch:
        dims = self._network.dims
        samples, patch, logits = np.split(row, [dims.patch_samples, len(row) - 2])
        # Copies: the whole batch would be kept by one chunk that somebody holds on to.
        return MadePatch(
            samples.copy(),
            patch.reshape(1, dims.patch_size, dims.latent_dim).copy(),
            bool(logits[1] > logits[0]),
        )
