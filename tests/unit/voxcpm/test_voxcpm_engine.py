"""The engine as the pipeline meets it: streams, their ends, those who leave, and more rows than a step takes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_voxcpm import GoldenVoxCPM, StepBench, patches_of, said_alone, samples_of

from deployments.core.errors import InvalidRequest, Overloaded, SpeechError, TooLarge
from deployments.voxcpm.step.engine import VoxCPMEngine, load_parts
from deployments.voxcpm.step.job import PatchChunk, VoxCPMJob
from deployments.voxcpm.step.model import PatchModel

TINY = Path(__file__).parents[2] / "golden/voxcpm"
SLOTS = 3
LONG = {"max_patches": 30, "min_patches": 1000}


@pytest.fixture(scope="module")
def known() -> GoldenVoxCPM:
    return GoldenVoxCPM(TINY / "v2")


def new_engine(known: GoldenVoxCPM, **options: Any) -> VoxCPMEngine:
    network, wave = load_parts(known.checkpoint, device="cpu", dtype=torch.float32)
    engine = VoxCPMEngine(network, wave, **{"slots": SLOTS, **options})
    engine.start()
    return engine


@pytest.fixture
def engine(known: GoldenVoxCPM) -> Any:
    made = new_engine(known)
    yield made
    made.stop()


def long_job(known: GoldenVoxCPM, **changes: Any) -> VoxCPMJob:
    return known.job("zero_shot", text_ids=(78,) * 9, target_tokens=9, **{**LONG, **changes})


async def heard(engine: VoxCPMEngine, job: VoxCPMJob) -> list[PatchChunk]:
    async with aclosing(engine.stream(job)) as replies:
        return [reply.value async for reply in replies]


async def test_streams_equal_those_made_alone(known: GoldenVoxCPM, engine: VoxCPMEngine) -> None:
    jobs = [known.job(name, seed=40 + number) for number, name in enumerate(known.names)]
    together = await asyncio.gather(*(heard(engine, job) for job in jobs))
    model = known.model()
    for job, said in zip(jobs, together, strict=True):
        expected = said_alone(model, job)
        np.testing.assert_array_equal(samples_of(said), samples_of(expected))
        np.testing.assert_array_equal(patches_of(said), patches_of(expected))
        assert said[-1].ended == expected[-1].ended


async def test_a_chunk_is_one_patch(known: GoldenVoxCPM, engine: VoxCPMEngine) -> None:
    job = known.job("zero_shot", emit_patches=False)
    said = await heard(engine, job)
    assert {chunk.samples.shape for chunk in said} == {(known.checkpoint.dims.patch_samples,)}
    assert {chunk.samples.dtype for chunk in said} == {np.dtype(np.float32)}
    assert all(chunk.patches is None for chunk in said)


async def test_a_run_into_the_limit_says_so(known: GoldenVoxCPM, engine: VoxCPMEngine) -> None:
    job = replace(known.job("zero_shot"), max_patches=4096, min_patches=4096)
    said = await heard(engine, job)
    assert len(said) == 6 * job.target_tokens + 10
    assert [chunk.ended for chunk in said[:-1]] == [None] * (len(said) - 1)
    assert said[-1].ended == "limit"


async def test_who_leaves_frees_the_slot(known: GoldenVoxCPM) -> None:
    engine = new_engine(known, slots=1)
    try:
        async with aclosing(engine.stream(long_job(known))) as replies:
            await anext(replies)
        said = await heard(engine, known.job("zero_shot"))
        np.testing.assert_array_equal(
            samples_of(said), samples_of(said_alone(known.model(), known.job("zero_shot")))
        )
        async with asyncio.timeout(5):
            while engine.model.free_slots < 1:
                await asyncio.sleep(0.01)
    finally:
        engine.stop()


async def test_too_many_are_refused(known: GoldenVoxCPM) -> None:
    engine = new_engine(known, slots=1, max_waiting=1)
    try:
        async with aclosing(engine.stream(long_job(known))) as first:
            await anext(first)
            waiting = asyncio.create_task(heard(engine, known.job("max_len")))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await heard(engine, known.job("max_len"))
        assert (await waiting)[-1].ended is not None
    finally:
        engine.stop()


async def test_more_rows_than_a_step_takes(known: GoldenVoxCPM) -> None:
    """Those whose listeners need it first; the others sit out, and the result is the same."""
    engine = new_engine(known, slots=SLOTS, step_rows=1)
    try:
        jobs = [known.job("zero_shot", seed=number) for number in range(SLOTS)]
        together = await asyncio.gather(*(heard(engine, job) for job in jobs))
    finally:
        engine.stop()
    model = known.model()
    for job, said in zip(jobs, together, strict=True):
        np.testing.assert_array_equal(samples_of(said), samples_of(said_alone(model, job)))


async def test_who_begins_overtakes_who_is_ahead(known: GoldenVoxCPM) -> None:
    engine = new_engine(known, slots=2, step_rows=1)
    try:
        async with aclosing(engine.stream(long_job(known, slack_s=30.0))) as ahead:
            await anext(ahead)
            urgent = await heard(engine, known.job("max_len"))
            rest = [reply.value async for reply in ahead]
        assert len(urgent) == 4
        assert len(rest) == 29
    finally:
        engine.stop()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"text_ids": (), "target_tokens": 0}, InvalidRequest),
        ({"text_ids": (78,) * 300}, TooLarge),
        ({"euler_steps": 1000}, InvalidRequest),
    ],
)
async def test_bad_jobs_never_reach_the_model(
    known: GoldenVoxCPM, engine: VoxCPMEngine, changes: dict[str, Any], error: type[SpeechError]
) -> None:
    with pytest.raises(error):
        await heard(engine, replace(known.job("zero_shot"), **changes))
    assert (await heard(engine, known.job("max_len")))[-1].ended is not None


async def test_audio_that_is_not_finite_is_one_requests_error(
    known: GoldenVoxCPM, engine: VoxCPMEngine
) -> None:
    context = np.full((known.checkpoint.dims.latent_dim, 4), np.finfo(np.float32).max, np.float32)
    good = asyncio.create_task(heard(engine, long_job(known)))
    with pytest.raises(SpeechError, match="not finite"):
        await heard(engine, known.job("zero_shot", context=context))
    assert len(await good) == LONG["max_patches"]


def test_a_slot_is_used_again_without_a_trace(known: GoldenVoxCPM) -> None:
    model = known.model(slots=1)
    job = known.job("continuation")
    expected = said_alone(model, job)
    bench = StepBench(model)
    row = bench.join(long_job(known))
    for _ in range(5):
        bench.step()
    bench.leave(row)
    np.testing.assert_array_equal(samples_of(said_alone(model, job)), samples_of(expected))


def test_a_context_of_its_own_primes_the_vae(known: GoldenVoxCPM) -> None:
    """The prompt's own frames are the default."""
    model, job = known.model(), known.job("continuation")
    assert job.prompt is not None
    frames = job.prompt.reshape(-1, known.checkpoint.dims.latent_dim).T
    given, default = (said_alone(model, each) for each in (replace(job, context=frames), job))
    np.testing.assert_array_equal(samples_of(given), samples_of(default))
    none = said_alone(model, replace(job, context=frames[:, :0]))
    assert np.abs(samples_of(none) - samples_of(default)).max() > 1e-4
    np.testing.assert_array_equal(patches_of(none), patches_of(default))


def test_bfloat16_speaks(known: GoldenVoxCPM) -> None:
    """Decisions may fall otherwise; but audio comes out, close to that of float32 as long as nothing was decided."""
    network, wave = load_parts(known.checkpoint, device="cpu", dtype=torch.bfloat16)
    model = PatchModel(
        network,
        wave,
        slots=2,
        max_length=64,
        prefill_positions=512,
        time_dtype=torch.float32,
        cuda_graphs=False,
    )
    job = known.job("reference_continuation")
    found, expected = (patches_of(said_alone(each, job))[0] for each in (model, known.model()))
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
