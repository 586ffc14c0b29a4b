"""The GPT as a step model: a row is a job, a step appends one code to every row that is past its prefix."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from deployments.engine.step_model import Outcome
from deployments.indextts2.gpt.cuda_graphs import BucketedStep, SplitForward
from deployments.indextts2.gpt.forward import Forward, JointForward, StepInputs
from deployments.indextts2.gpt.job import CodeChunk, SlotLimits, job_slots
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.positions import Position, generation_position
from deployments.indextts2.gpt.row import CodeRow, GptTask
from deployments.indextts2.gpt.selection import Selection


class CodeModel:
    """Satisfies StepModel[GptTask, CodeRow, CodeChunk]; width and cost are counted in slots.

    prefill_rows: rows of prefixes, and of latents made at the end, that one step computes beside the codes.
    """

    def __init__(
        self,
        model: SpeechGpt,
        limits: SlotLimits,
        *,
        prefill_rows: int,
        cuda_graphs: bool,
        position: Position = generation_position,
    ) -> None:
        self._model = model
        self._position = position
        self._prefill_rows = prefill_rows
        self._selection = Selection(model.dims, limits.slots, model.device)
        self._free = list(reversed(range(limits.slots)))
        self._forward: Forward
        if model.device.type == "cpu":
            self._cache = model.new_cache(limits.slots, limits.max_length)
            self._forward = JointForward(model, self._cache)
        else:
            self._cache = model.new_cache(limits.slots + 1, limits.max_length)  # one to write padding to
            step = BucketedStep(model, self._cache, graphs=cuda_graphs)
            self._forward = SplitForward(model, self._cache, step)

    @property
    def free_slots(self) -> int:
        return len(self._free)

    def width(self, task: GptTask) -> int:
        return job_slots(task.job, self._model.dims)

    @torch.inference_mode()
    def admit(self, task: GptTask) -> CodeRow:
        count = self.width(task)
        slots = tuple(self._free[-count:])
        row = CodeRow(self._model, self._cache, task, slots, self._forward.latents_at_once, self._position)
        del self._free[-count:]
        self._cache.clear(slots)
        self._selection.open(slots)
        return row

    def cost(self, rows: Sequence[CodeRow]) -> int:
        return sum(len(row.slots) for row in rows)

    @torch.inference_mode()
    def step(self, rows: Sequence[CodeRow]) -> list[Outcome[CodeChunk]]:
        inputs = StepInputs(self._prefill_rows)
        for row in rows:
            row.add_inputs(inputs)
        states = self._forward.compute(inputs)
        choosing = {row: hidden for row in rows if (hidden := row.take_states(states)) is not None}
        if choosing:
            logits = self._model.logits(torch.cat(list(choosing.values())))
            chosen = self._selection.choose(logits, [row.decoder for row in choosing])
            for row, next_codes in zip(choosing, chosen, strict=True):
                row.continue_with(next_codes)
        return [row.outcome() for row in rows]

    def release(self, row: CodeRow) -> None:
        self._cache.clear(row.slots)
        self._free += reversed(row.slots)
