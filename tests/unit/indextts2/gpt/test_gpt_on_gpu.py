"""The GPT on a GPU: the codes of a CPU, with CUDA graphs and without, and a step that waits only to choose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gpt_jobs import PARAMS, Golden, collect, joined
from gpu_fixture import Gpu
from pretended_cuda import PretendedCuda
from pretended_gpu import GPU, PretendedGpu

from deployments.core.logs import logger
from deployments.indextts2.gpt.code_model import CodeModel
from deployments.indextts2.gpt.engine import GptEngine
from deployments.indextts2.gpt.job import GptJob, SlotLimits, checked_params
from deployments.indextts2.gpt.row import GptTask
from deployments.indextts2.settings import GptSettings

SLOTS = 18
CODES = 12
NEVER = -1e4  # added to the score of the stop code

Said = list[tuple[list[int], np.ndarray]]
"""Codes and latents, job by job."""


@pytest.fixture(scope="module")
def golden_gpt(golden_front: Path) -> Golden:
    return Golden.load(golden_front, stop_bias=NEVER)


def on(device: str, golden: Golden) -> Golden:
    return replace(golden, model=deepcopy(golden.model).to(device))


def jobs_of(golden: Golden) -> list[GptJob]:
    """Greedy and sampled, one row and beams, streamed and whole."""
    return [
        golden.job(number, params=params.model_copy(update={"max_codes": CODES}), emit_codes=5 * (number % 2))
        for number, params in enumerate(PARAMS)
    ]


async def said(golden: Golden, *, graphs: bool = False) -> Said:
    engine = GptEngine(golden.model, GptSettings(slots=SLOTS, cuda_graphs=graphs))
    engine.start()
    try:
        made = await asyncio.gather(*(collect(engine, job) for job in jobs_of(golden)))
    finally:
        engine.stop()
    return [joined(chunks) for chunks in made]


@pytest.fixture(scope="module")
async def known(golden_gpt: Golden) -> Said:
    return await said(on("cpu", golden_gpt))


def assert_same(found: Said, known: Said, gpu: Gpu) -> None:
    for (codes, latents), (expected_codes, expected_latents) in zip(found, known, strict=True):
        assert codes == expected_codes
        gpu.assert_close(latents, expected_latents)


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.parametrize("graphs", [False, True])
async def test_codes_and_latents(
    golden_gpt: Golden, known: Said, graphs: bool, gpu: Gpu, caplog: pytest.LogCaptureFixture
) -> None:
    logger.addHandler(caplog.handler)  # it does not propagate
    try:
        assert_same(await said(on(gpu.device, golden_gpt), graphs=graphs), known, gpu)
    finally:
        logger.removeHandler(caplog.handler)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.slow
async def test_steps_are_replays(golden_gpt: Golden, pretended_cuda: PretendedCuda) -> None:
    """Nothing of a step is worked out on the host, or a replay would repeat what the capture saw."""
    await said(on("cuda", golden_gpt), graphs=True)
    assert sum(graph.replays for graph in pretended_cuda.graphs) >= CODES


async def test_graphs_are_captured_on_the_device_of_the_model(
    golden_gpt: Golden, pretended_cuda: PretendedCuda
) -> None:
    """Else the capture is of another device's stream: the graph is empty, and a replay does nothing."""
    pretended_cuda.devices[0] = torch.device("cuda", 1)
    await said(on("cuda", golden_gpt), graphs=True)
    assert pretended_cuda.captured_on == {GPU}


async def test_a_capture_that_fails_leaves_no_trace(
    golden_gpt: Golden, known: Said, pretended_cuda: PretendedCuda
) -> None:
    pretended_cuda.fail_at = 2
    found = await said(on("cuda", golden_gpt), graphs=True)
    assert len(pretended_cuda.streams) == 1, "the thread goes on with the stream it had"
    assert sum(graph.replays for graph in pretended_cuda.graphs) == 0
    assert_same(found, known, Gpu(is_real=False))


def test_a_step_waits_only_to_choose(golden_gpt: Golden, pretended_gpu: PretendedGpu) -> None:
    golden = on("cuda", golden_gpt)
    limits = SlotLimits(SLOTS, golden.model.longest)
    model = CodeModel(golden.model, limits, prefill_rows=1000, cuda_graphs=False)
    jobs: Sequence[GptJob] = [golden.job(1, seed=seed) for seed in range(3)]
    latents = torch.tensor(golden.latents).to(golden.model.device)
    rows = [
        model.admit(GptTask(job, checked_params(job, golden.model.dims, limits), latents)) for job in jobs
    ]
    for _ in range(3):
        model.step(rows)
    pretended_gpu.reset()
    model.step(rows)
    assert pretended_gpu.waits == {"cpu": 2}, "scores and codes of the shortlist"
    assert pretended_gpu.uploads <= 3, "inputs of the step, slots to choose for, what was chosen"
