"""Rows step by step, without the engine's thread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpt_jobs import PARAMS, Golden, changed, joined, same_latents

from deployments.core.errors import SpeechError
from deployments.indextts2.gpt.attention import SlotCache
from deployments.indextts2.gpt.code_model import CodeModel
from deployments.indextts2.gpt.cuda_graphs import BucketedStep, SplitForward
from deployments.indextts2.gpt.job import CodeChunk, GptJob, SlotLimits, checked_params
from deployments.indextts2.gpt.model import PIECE
from deployments.indextts2.gpt.row import CodeRow, GptTask


@pytest.fixture(scope="module")
def golden_gpt(golden_front: Path) -> Golden:
    found = Golden.load(golden_front)
    found.model.pack()
    return found


class StepBench:
    """Steps all its rows and gathers what they send."""

    def __init__(self, golden: Golden, *, slots: int = 32, prefill_rows: int = 1000) -> None:
        self.golden = golden
        self.limits = SlotLimits(slots, golden.model.longest)
        self.model = CodeModel(golden.model, self.limits, prefill_rows=prefill_rows, cuda_graphs=False)
        self.rows: dict[CodeRow, list[CodeChunk]] = {}
        self.running: list[CodeRow] = []
        self.errors: dict[CodeRow, Exception] = {}

    def join(self, job: GptJob, latents: torch.Tensor | None = None) -> CodeRow:
        params = checked_params(job, self.golden.model.dims, self.limits)
        latents = torch.tensor(self.golden.latents) if latents is None else latents
        row = self.model.admit(GptTask(job, params, latents))
        self.rows[row] = []
        self.running.append(row)
        return row

    def step(self) -> None:
        rows = list(self.running)
        for row, outcome in zip(rows, self.model.step(rows), strict=True):
            self.rows[row] += outcome.outputs
            if outcome.error is not None:
                self.errors[row] = outcome.error
            if outcome.done or outcome.error is not None:
                self.leave(row)

    def leave(self, row: CodeRow) -> None:
        self.running.remove(row)
        self.model.release(row)

    def finish(self) -> None:
        while self.running:
            self.step()


def plain(golden: Golden, number: int, **changes: Any) -> GptJob:
    return golden.job(number, **{"voice": golden.voice(), **changes})


@pytest.mark.parametrize("emit_codes", [0, 1, 6])
@pytest.mark.parametrize("number", range(len(PARAMS)))
async def test_a_row_equals_the_plain_loop(golden_gpt: Golden, number: int, emit_codes: int) -> None:
    job = plain(golden_gpt, number, emit_codes=emit_codes)
    bench = StepBench(golden_gpt)
    row = bench.join(job)
    bench.finish()
    codes, latents = joined(bench.rows[row])
    decoded, expected = await golden_gpt.alone(job)
    assert codes == list(decoded.codes)
    assert bench.rows[row][-1].limit_reached == (not decoded.stopped)
    same_latents(latents, expected)
    sizes = [len(chunk.codes) for chunk in bench.rows[row]]
    assert all(size == emit_codes for size in sizes[:-1])
    if emit_codes == 0:
        assert len(sizes) == 1


@pytest.mark.slow
async def test_long_prefixes_take_several_steps_and_nobody_stalls(golden_gpt: Golden) -> None:
    bench = StepBench(golden_gpt, prefill_rows=1)  # one piece per step
    first = bench.join(plain(golden_gpt, 0, emit_codes=1))
    bench.step()
    jobs = [plain(golden_gpt, number, emit_codes=1, text_ids=golden_gpt.texts[2]) for number in (0, 1, 2)]
    rows = [bench.join(job) for job in jobs]
    prefix = golden_gpt.model.prefix(torch.tensor(golden_gpt.latents), torch.zeros(1), jobs[0].text_ids)
    pieces = -(-(len(prefix) + 1) // PIECE)
    for done in range(1, 3 * pieces + 1):
        sent = len(bench.rows[first])
        bench.step()
        assert len(bench.rows[first]) == sent + 1
        assert [row.decoder.steps > 0 for row in rows] == [done >= pieces * (i + 1) for i in range(3)]
    bench.finish()
    for row, job in zip(rows, jobs, strict=True):
        decoded, _ = await golden_gpt.alone(job)
        assert joined(bench.rows[row])[0] == list(decoded.codes)


def test_a_late_joiner_has_its_first_code_after_one_step(golden_gpt: Golden) -> None:
    bench = StepBench(golden_gpt)
    for number in range(4):
        bench.join(plain(golden_gpt, number))
    for _ in range(3):
        bench.step()
    late = [bench.join(plain(golden_gpt, 0, emit_codes=1, stream=i)) for i in range(4)]
    bench.step()
    assert [len(bench.rows[row]) for row in late] == [1] * 4


def test_a_voice_of_garbage_fails_alone(golden_gpt: Golden) -> None:
    def codes(company: bool) -> Sequence[int]:
        bench = StepBench(golden_gpt)
        good = bench.join(plain(golden_gpt, 1, emit_codes=3))
        if company:
            bad = bench.join(plain(golden_gpt, 2), torch.full(golden_gpt.latents.shape, torch.nan))
        bench.finish()
        if company:
            assert isinstance(bench.errors[bad], SpeechError)
            assert "not finite" in str(bench.errors[bad])
        assert bench.model.free_slots == 32
        return joined(bench.rows[good])[0]

    assert codes(True) == codes(False)


@pytest.mark.slow
def test_slots_are_reused_without_a_trace(golden_gpt: Golden) -> None:
    bench = StepBench(golden_gpt, slots=5)
    expected = None
    for _ in range(3):
        row = bench.join(plain(golden_gpt, 2, emit_codes=4))
        bench.finish()
        codes, latents = joined(bench.rows[row])
        expected = expected or (codes, latents.tobytes())
        assert (codes, latents.tobytes()) == expected
        gone = bench.join(plain(golden_gpt, 5, emit_codes=2))
        bench.step()
        bench.step()
        bench.leave(gone)
        assert bench.model.free_slots == 5


@pytest.mark.parametrize("emit_codes", [0, 4])
@pytest.mark.parametrize("beams", [1, 3])
def test_an_immediate_stop_gives_no_codes(golden_front: Path, beams: int, emit_codes: int) -> None:
    golden = Golden.load(golden_front, stop_bias=1e6)
    bench = StepBench(golden)
    params = changed(PARAMS[1], num_beams=beams, max_codes=9)
    row = bench.join(plain(golden, 1, emit_codes=emit_codes, params=params))
    bench.finish()
    (chunk,) = bench.rows[row]
    assert chunk.finished
    assert not chunk.limit_reached
    assert chunk.codes.shape == (0,)
    assert chunk.latents.shape == (0, golden.model.dims.model_dim)


@pytest.mark.parametrize("emit_codes", [0, 1, 2])
@pytest.mark.parametrize("max_codes", [1, 2])
async def test_tiny_limits(golden_gpt: Golden, max_codes: int, emit_codes: int) -> None:
    for beams in (1, 3):
        params = changed(PARAMS[0], num_beams=beams, max_codes=max_codes)
        job = plain(golden_gpt, 0, params=params, emit_codes=emit_codes)
        bench = StepBench(golden_gpt)
        row = bench.join(job)
        bench.finish()
        decoded, expected = await golden_gpt.alone(job)
        codes, latents = joined(bench.rows[row])
        assert codes == list(decoded.codes)
        same_latents(latents, expected)


def test_beams_send_before_the_end(golden_gpt: Golden) -> None:
    """Some code is agreed on by all beams long before the last one."""
    bench = StepBench(golden_gpt)
    params = changed(PARAMS[3], max_codes=golden_gpt.model.max_codes)
    row = bench.join(plain(golden_gpt, 3, emit_codes=1, params=params))
    sent = []
    while bench.running:
        bench.step()
        sent.append(len(bench.rows[row]))
    assert any(0 < count < sent[-1] - 1 for count in sent)


@pytest.mark.parametrize("emit_codes", [1, 3, 10])
def test_a_chunk_leaves_with_the_step_that_chooses_its_last_code(golden_front: Path, emit_codes: int) -> None:
    golden = Golden.load(golden_front, stop_bias=-1e6)
    bench = StepBench(golden)
    most = golden.up_to(30)
    row = bench.join(plain(golden, 1, emit_codes=emit_codes, params=changed(PARAMS[1], max_codes=most)))
    for chosen in range(1, most + 1):
        bench.step()
        assert len(bench.rows[row]) == chosen // emit_codes + (chosen == most)


@pytest.mark.slow
def test_the_accelerators_way_equals_the_cpus(golden_front: Path, golden_gpt: Golden) -> None:
    """Buckets, padding rows and static buffers, run eagerly: what a CUDA graph captures."""
    unpacked = Golden.load(golden_front)

    def run(split: bool) -> list[tuple[list[int], np.ndarray]]:
        golden = unpacked if split else golden_gpt
        bench = StepBench(golden, slots=24, prefill_rows=1)
        if split:
            cache = SlotCache(golden.model.dims, 25, golden.model.longest)
            cache.keys.fill_(torch.nan)
            cache.values.fill_(torch.nan)
            step = BucketedStep(golden.model, cache, graphs=True)
            assert step.captured == 0
            bench.model._cache = cache
            bench.model._forward = SplitForward(golden.model, cache, step)
        rows = []
        for number in range(6):
            rows.append(bench.join(plain(golden, number, emit_codes=2)))
            bench.step()
        bench.finish()
        return [joined(bench.rows[row]) for row in rows]

    for (codes, latents), (expected, wanted) in zip(run(True), run(False), strict=True):
        assert codes == expected
        same_latents(latents, wanted)
