"""VoxCPM as a step model: a row is a job, a step makes a patch of audio for every row that is past its prefix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from deployments.engine.cuda_graphs import try_to_capture
from deployments.engine.step_model import Outcome
from deployments.voxcpm.network import VoxCPMNetwork
from deployments.voxcpm.patch.times import TimeTable
from deployments.voxcpm.step.decoding import PatchDecoding, WaveDecoder
from deployments.voxcpm.step.job import PatchChunk, VoxCPMJob, patch_limit
from deployments.voxcpm.step.lm_pass import BucketedPass, JointPass, LmPass
from deployments.voxcpm.step.prefix import PrefixBudget
from deployments.voxcpm.step.row import PatchRow
from deployments.voxcpm.step.states import SlotStates


class PatchModel:
    """Satisfies StepModel[VoxCPMJob, PatchRow, PatchChunk]; width and cost are counted in rows.

    A step ends with audio: first the language models, both for rows that speak and for the prefixes of those that
    begin, then patches and samples of all of them together. So a new row waits for one step at most and shares the
    expensive part with the others (voxcpm.md 13).
    """

    def __init__(
        self,
        network: VoxCPMNetwork,
        new_wave_decoder: Callable[[int], WaveDecoder],
        *,
        slots: int,
        max_length: int,
        prefill_positions: int,
        time_dtype: torch.dtype,
        cuda_graphs: bool,
    ) -> None:
        """new_wave_decoder: from a number of slots; max_length: positions of a row; prefill_positions: of prefixes,
        that one step takes in at most; time_dtype: in which the times of Euler steps are worked out."""
        self.dims = network.dims
        self.max_length = max_length
        self._network = network
        self._prefill_positions = prefill_positions
        self._free = list(reversed(range(slots)))
        self._states = SlotStates(network, slots, max_length)
        self._wave = new_wave_decoder(slots + 1)
        times = TimeTable(network.velocity, time_dtype)
        self._decoding = PatchDecoding(network, self._states, self._wave, times)
        self._lm: LmPass
        if network.device.type == "cpu":
            self._lm = JointPass(network, self._states)
        else:
            self._lm = bucketed = BucketedPass(network, self._states)
            if cuda_graphs:
                try_to_capture("VoxCPM", [bucketed.step, *self._decoding.works], network.device)

    @property
    def free_slots(self) -> int:
        return len(self._free)

    def width(self, job: VoxCPMJob) -> int:
        return 1

    def admit(self, job: VoxCPMJob) -> PatchRow:
        limit = patch_limit(job, self.dims, self.max_length)
        slot = self._free.pop()
        return PatchRow(job, slot, limit, (self.dims.patch_size, self.dims.latent_dim), self.dims.patch_s)

    def cost(self, rows: Sequence[PatchRow]) -> int:
        return len(rows)

    @torch.inference_mode()
    def step(self, rows: Sequence[PatchRow]) -> list[Outcome[PatchChunk]]:
        budget = PrefixBudget(self._prefill_positions)
        speaking = [row.slot for row in rows if row.prefix.done]
        for row in rows:
            is_new = row.is_new
            budget.take(row.prefix)
            if is_new and not row.is_new:
                self._open(row)
        self._lm.compute(speaking, budget.pieces)
        ready = [row for row in rows if row.prefix.done]
        made = self._decoding.decode([row.task for row in ready]) if ready else []
        outcomes = {row: row.take(patch) for row, patch in zip(ready, made, strict=True)}
        return [outcomes.get(row, Outcome()) for row in rows]

    def release(self, row: PatchRow) -> None:
        self._free.append(row.slot)

    def _open(self, row: PatchRow) -> None:
        """The state of a slot before its first position."""
        job, states = row.job, self._states
        states.cache.reset(row.slot)
        context = job.context
        if job.prompt is None:
            states.patch[row.slot].zero_()
        else:
            # Copies: what Ray hands over is read-only.
            states.patch[row.slot].copy_(torch.tensor(job.prompt[-1]))
            context = job.prompt.reshape(-1, self.dims.latent_dim).T if context is None else context
        if context is None:
            self._wave.reset(row.slot)
        else:
            self._wave.prime(row.slot, torch.tensor(context).to(self._network.device))
