"""The GPT as a step model: a row is a job, a step appends one code to every row that is past its prefix."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from deployments.engine.step_model import Outcome
from deployments.indextts2.gpt.bucketed_step import BucketedStep, SplitComputer
from deployments.indextts2.gpt.code_row import CodeRow
from deployments.indextts2.gpt.job import CodeChunk
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.passes import Computer, JointComputer, Pass
from deployments.indextts2.gpt.selection import Selection
from deployments.indextts2.gpt.task import GptTask, Limits


class CodeModel:
    """Satisfies StepModel[GptTask, CodeRow, CodeChunk]; width and cost are counted in slots.

    prefill_rows: rows of prefixes, and of latents made at the end, that one step computes beside the codes.
    """

    def __init__(self, model: SpeechGpt, limits: Limits, *, prefill_rows: int, cuda_graphs: bool) -> None:
        self._model = model
        self._prefill_rows = prefill_rows
        self._selection = Selection(model.dims, limits.slots, model.device)
        self._free = list(reversed(range(limits.slots)))
        self._computer: Computer
        if model.device.type == "cpu":
            self._cache = model.new_cache(limits.slots, limits.max_length)
            self._computer = JointComputer(model, self._cache)
        else:
            self._cache = model.new_cache(limits.slots + 1, limits.max_length)  # one to write padding to
            step = BucketedStep(model, self._cache, graphs=cuda_graphs)
            self._computer = SplitComputer(model, self._cache, step)

    @property
    def free_slots(self) -> int:
        return len(self._free)

    def width(self, task: GptTask) -> int:
        return task.slots

    @torch.inference_mode()
    def admit(self, task: GptTask) -> CodeRow:
        slots = tuple(self._free[-task.slots :])
        row = CodeRow(self._model, self._cache, task, slots, self._computer.latents_at_once)
        del self._free[-task.slots :]
        self._cache.clear(slots)
        self._selection.open(slots)
        return row

    def cost(self, rows: Sequence[CodeRow]) -> int:
        return sum(len(row.slots) for row in rows)

    @torch.inference_mode()
    def step(self, rows: Sequence[CodeRow]) -> list[Outcome[CodeChunk]]:
        work = Pass(self._prefill_rows)
        for row in rows:
            row.ask(work)
        self._computer.compute(work)
        heard = {row: states for row in rows if (states := row.hear(work)) is not None}
        if heard:
            logits = self._model.logits(torch.cat(list(heard.values())))
            choices = self._selection.choose(logits, [row.decoder for row in heard])
            for row, choice in zip(heard, choices, strict=True):
                row.decide(choice)
        return [row.outcome() for row in rows]

    def release(self, row: CodeRow) -> None:
        self._cache.clear(row.slots)
        self._free += reversed(row.slots)
