"""The mel stage of a model that decodes its codes and stretches: chunks, lengths, refusals, and a GPU."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden_index25 import Golden25
from gpu_fixture import Gpu
from pretended_gpu import PretendedGpu

from deployments.core.errors import InvalidRequest
from deployments.indextts2.s2mel.engine import S2MelEngine
from deployments.indextts2.s2mel.job import Mel, S2MelJob

ALONE = 1e-5  # log-mel: equal but for the order of float32 sums
LOOKAHEAD = 3


@pytest.fixture(scope="module")
def stage(golden_25: Path) -> Golden25:
    return Golden25.load(golden_25)


def long_codes(stage: Golden25, count: int) -> np.ndarray:
    return np.resize(stage.codes, count)


def chunks_of(stage: Golden25, whole: S2MelJob, counts: Sequence[int]) -> list[S2MelJob]:
    """As a stream cuts a segment: each job brings the codes that are new, and makes the look-ahead of the last anew."""
    jobs, sent, committed = [], 0, 0
    for count in counts:
        last = count == len(whole.codes)
        jobs.append(
            replace(
                whole,
                first_code=sent,
                codes=whole.codes[sent:count],
                latents=whole.latents[sent:count],
                committed_frames=committed,
                open_end=not last,
                last=last,
            )
        )
        sent, committed = count, stage.frames(count - LOOKAHEAD, whole.duration_factor)
    return jobs


async def spoken(engine: S2MelEngine, stage: Golden25, jobs: Sequence[S2MelJob], *, complete: bool) -> Mel:
    """Joined mel of the chunks; `complete`: every job brings everything, as to a replica that knows nothing."""
    mel: Mel = np.zeros((stage.networks.dims.estimator.mel_channels, 0), np.float32)
    codes = np.concatenate([job.codes for job in jobs])
    for job in jobs:
        sent = job
        if complete:
            count, committed = job.code_count, mel[:, : job.committed_frames]
            latents = np.zeros((count, 0), np.float32)
            sent = replace(job, first_code=0, codes=codes[:count], latents=latents, committed=committed)
        made = (await engine.mel(sent)).value
        assert made is not None
        mel = np.concatenate([mel[:, : job.committed_frames], made], axis=1)
    return mel


@pytest.mark.parametrize("duration_factor", [0.5, 1.0, 1.3])
async def test_chunks_are_as_long_as_one_pass_and_forgetting_is_not_heard(
    stage: Golden25, duration_factor: float
) -> None:
    keeping, forgetting = stage.engine(), stage.engine(segment_cache_mb=0)
    whole = stage.job(long_codes(stage, 90), steps=1, duration_factor=duration_factor)
    jobs = chunks_of(stage, whole, (6, 20, 64, 65, 90))
    for engine in (keeping, forgetting):
        engine.start()
    try:
        kept = await spoken(keeping, stage, jobs, complete=False)
        assert np.array_equal(kept, await spoken(forgetting, stage, jobs, complete=True))
        one_pass = (await keeping.mel(replace(whole, segment="whole"))).value
        assert one_pass is not None
        assert kept.shape == one_pass.shape
        assert kept.shape[1] == stage.frames(90, duration_factor)
    finally:
        keeping.stop()
        forgetting.stop()


async def test_jobs_that_share_a_batch_are_as_alone(stage: Golden25) -> None:
    engine = stage.engine()
    engine.start()
    try:
        jobs = [
            stage.job(
                long_codes(stage, 3 + 11 * i),
                steps=1 + i % 3,
                seed=i,
                duration_factor=(0.5, 1.0, 2.0)[i % 3],
                segment=f"mixed-{i}",
            )
            for i in range(7)
        ]
        alone = [(await engine.mel(job)).value for job in jobs]
        together = await asyncio.gather(*map(engine.mel, jobs))
        for reply, expected in zip(together, alone, strict=True):
            assert reply.value is not None
            assert expected is not None
            np.testing.assert_allclose(reply.value, expected, atol=ALONE, rtol=0)
    finally:
        engine.stop()


@pytest.mark.parametrize("factor", [0.49, 2.01, float("nan"), -1.0])
async def test_a_duration_that_the_model_was_not_made_for_is_refused(stage: Golden25, factor: float) -> None:
    engine = stage.engine()
    with pytest.raises(InvalidRequest, match=r"takes 0\.5 to 2"):
        await engine.mel(stage.job(stage.codes, duration_factor=factor))


async def test_latents_are_refused(stage: Golden25) -> None:
    engine = stage.engine()
    with pytest.raises(InvalidRequest, match="expected"):
        await engine.mel(stage.job(stage.codes, latents=np.zeros((len(stage.codes), 5), np.float32)))


async def mels(stage: Golden25) -> list[Mel]:
    """Of jobs that share steps, and of a segment in two jobs."""
    engine = stage.engine()
    engine.start()
    try:
        jobs = [stage.job(stage.codes[: 6 + i], steps=2, seed=i, segment=f"gpu-{i}") for i in range(3)]
        made = [reply.value for reply in await asyncio.gather(*map(engine.mel, jobs))]
        whole = stage.job(stage.codes, steps=2, duration_factor=1.25)
        made += [(await engine.mel(job)).value for job in chunks_of(stage, whole, (8, len(stage.codes)))]
    finally:
        engine.stop()
    return [mel for mel in made if mel is not None]


@pytest.mark.gpu
async def test_mels_on_gpu(stage: Golden25, golden_25: Path, gpu: Gpu) -> None:
    known = await mels(stage)
    found = await mels(Golden25.load(golden_25, gpu.device))
    assert len(found) == len(known) == 5
    for mel, expected in zip(found, known, strict=True):
        gpu.assert_close(mel, expected)


async def test_it_waits_for_finished_mels_alone(golden_25: Path, pretended_gpu: PretendedGpu) -> None:
    stage = Golden25.load(golden_25, "cuda")
    pretended_gpu.reset()
    made = await mels(stage)
    assert pretended_gpu.waits == {"cpu": len(made)}
