"""The GPT's engine with a checkpoint that has no latents and languages instead (indextts2.5-delta.md 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gpt_jobs import PARAMS, Golden, changed, collect, joined, metrics
from gpu_fixture import Gpu
from pretended_gpu import PretendedGpu

from deployments.core.errors import InvalidRequest
from deployments.indextts2.gpt.code_model import CodeModel
from deployments.indextts2.gpt.engine import GptEngine
from deployments.indextts2.gpt.job import SlotLimits, checked_params
from deployments.indextts2.gpt.row import GptTask
from deployments.indextts2.sampling import Params
from deployments.indextts2.settings import GptSettings

Start = Callable[..., GptEngine]
CODES = 12
NEVER = -1e4  # added to the score of the stop code


@pytest.fixture(scope="module")
def golden_gpt(golden_25: Path) -> Golden:
    return Golden.load_25(golden_25)


@pytest.fixture(scope="module")
def endless(golden_25: Path) -> Golden:
    """The same checkpoint, but every decoding runs into its limit."""
    return Golden.load_25(golden_25, stop_bias=NEVER)


@pytest.fixture
def started(golden_gpt: Golden) -> Iterator[Start]:
    engines = []

    def start(of: Golden = golden_gpt, **settings: Any) -> GptEngine:
        engine = GptEngine(deepcopy(of.model), GptSettings(**{"slots": 24, "max_waiting": 500, **settings}))
        engine.start()
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.stop()


async def codes_of(engine: GptEngine, golden_gpt: Golden, number: int, **changes: Any) -> list[int]:
    codes, latents = joined(await collect(engine, golden_gpt.job(number, **changes)))
    assert latents.shape == (len(codes), 0)
    return codes


@pytest.mark.slow
async def test_16_mixed_jobs_at_once_equal_one_by_one(started: Start, golden_gpt: Golden) -> None:
    engine = started(prefill_rows=100)
    jobs = range(16)
    alone = [await codes_of(engine, golden_gpt, number) for number in jobs]
    assert await asyncio.gather(*(codes_of(engine, golden_gpt, number) for number in jobs)) == alone
    for number, codes in zip(jobs, alone, strict=True):
        assert codes == list((await golden_gpt.alone(golden_gpt.job(number)))[0].codes)
    assert len({tuple(codes) for codes in alone}) > 4, "the jobs are too alike to tell anything"
    assert engine._model.free_slots == metrics(engine).rows


@pytest.mark.parametrize("number", range(len(PARAMS)))
async def test_chunk_sizes_change_nothing(started: Start, golden_gpt: Golden, number: int) -> None:
    engine = started()
    params = changed(PARAMS[number], max_codes=golden_gpt.up_to(30))
    whole, *streamed = [await codes_of(engine, golden_gpt, 1, params=params, emit_codes=n) for n in (0, 1, 7)]
    assert streamed == [whole, whole]


async def test_codes_are_sent_as_soon_as_they_are_chosen(started: Start, endless: Golden) -> None:
    """Nothing is computed between a code and its chunk."""
    job = endless.job(0, params=Params(num_beams=1, max_codes=6), emit_codes=2)
    chunks = await collect(started(endless), job)
    assert [len(chunk.codes) for chunk in chunks] == [2, 2, 2, 0]
    assert chunks[-1].limit_reached


async def test_a_stream_takes_no_slot_for_latents(started: Start, endless: Golden) -> None:
    engine = started(endless, slots=3)
    params = Params(num_beams=3, max_codes=5)
    assert len(await codes_of(engine, endless, 0, params=params, emit_codes=2)) == 5


async def test_languages_make_a_difference_and_must_be_known(started: Start, endless: Golden) -> None:
    engine = started(endless)
    params = Params(num_beams=1, temperature=0.0, max_codes=8)
    spoken = [await codes_of(engine, endless, 0, params=params, language_id=row) for row in (0, 1, 3, 106)]
    assert len(set(map(tuple, spoken))) > 1
    for language_id in (None, -1, 107):
        with pytest.raises(InvalidRequest, match="this model knows 0 to 106"):
            await codes_of(engine, endless, 0, params=params, language_id=language_id)


async def test_positions_as_trained_are_other_codes(started: Start, endless: Golden) -> None:
    params = Params(num_beams=1, temperature=0.0, max_codes=endless.up_to(20))
    published, trained = [
        await codes_of(started(endless, positions=scheme), endless, 0, params=params)
        for scheme in ("published", "trained")
    ]
    assert published[:1] == trained[:1]  # the start code is at position 0 either way
    assert published != trained


def test_ids_of_start_and_stop_never_reach_the_model(golden_gpt: Golden) -> None:
    rows = torch.tensor(golden_gpt.latents), torch.tensor(golden_gpt.emotion)
    ids = golden_gpt.texts[0]
    dims = golden_gpt.model.dims
    marked = (dims.start_text_token, *ids, dims.stop_text_token, dims.stop_text_token)
    assert torch.equal(golden_gpt.model.prefix(*rows, marked, 1), golden_gpt.model.prefix(*rows, ids, 1))


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.parametrize("graphs", [False, True])
async def test_codes_on_a_gpu(started: Start, golden_gpt: Golden, graphs: bool, gpu: Gpu) -> None:
    jobs = [
        {"number": number, "params": changed(params, max_codes=CODES), "emit_codes": 5 * (number % 2)}
        for number, params in enumerate(PARAMS)
    ]
    known = started()
    expected = [await codes_of(known, golden_gpt, **job) for job in jobs]
    there = started(replace(golden_gpt, model=deepcopy(golden_gpt.model).to(gpu.device)), cuda_graphs=graphs)
    assert await asyncio.gather(*(codes_of(there, golden_gpt, **job) for job in jobs)) == expected


def test_a_step_waits_only_to_choose(endless: Golden, pretended_gpu: PretendedGpu) -> None:
    gpt = deepcopy(endless.model).to("cuda")
    limits = SlotLimits(18, gpt.longest)
    model = CodeModel(gpt, limits, prefill_rows=1000, cuda_graphs=False)
    latents = torch.tensor(endless.latents).to(gpt.device)
    rows = [
        model.admit(GptTask(job, checked_params(job, gpt.dims, limits), latents))
        for job in (endless.job(1, seed=seed) for seed in range(3))
    ]
    for _ in range(3):
        model.step(rows)
    pretended_gpu.reset()
    model.step(rows)
    assert pretended_gpu.waits == {"cpu": 2}, "scores and codes of the shortlist"
    assert pretended_gpu.uploads <= 3, "inputs of the step, slots to choose for, what was chosen"
