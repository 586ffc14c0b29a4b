"""The S2Mel engine: what it computes, whatever else it computes at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from s2mel_golden import GoldenS2Mel

from deployments.core.deadline import Deadline
from deployments.core.errors import DeadlineExceeded, InvalidRequest, Overloaded, SpeechError
from deployments.core.metrics import Reply
from deployments.indextts2.s2mel import mel_model
from deployments.indextts2.s2mel.engine import S2MelEngine
from deployments.indextts2.s2mel.job import Mel, S2MelJob
from deployments.indextts2.s2mel.mel_model import MelModel, MelTask
from deployments.voices.profile import VoiceProfile

ALONE = 1e-5  # log-mel: equal but for the order of float32 sums


@pytest.fixture(scope="module")
def golden_s2mel(golden_back: Path) -> GoldenS2Mel:
    return GoldenS2Mel.load(golden_back)


@pytest.fixture
def engine(golden_s2mel: GoldenS2Mel) -> Iterator[S2MelEngine]:
    engine = golden_s2mel.engine()
    engine.start()
    yield engine
    engine.stop()


async def mel_of(engine: S2MelEngine, job: S2MelJob) -> Mel:
    reply: Reply[Mel | None] = await engine.mel(job)
    assert reply.value is not None
    return reply.value


def mixed_jobs(golden: GoldenS2Mel, count: int) -> list[S2MelJob]:
    """Both voices, several lengths, step counts, guidances, some with committed frames."""
    jobs = []
    for i in range(count):
        job = golden.job(
            golden.names[i % len(golden.names)],
            steps=2 + i % 4,
            guidance=0.0 if i % 5 == 0 else 0.7,
            seed=i,
            stream=i % 3,
            segment=f"mixed-{i}",
        )
        n = max(6, len(job.codes) - 3 * i % len(job.codes))
        noise = np.random.default_rng(i).normal(size=(golden.mel_channels, (i % 3) * 3))
        jobs.append(golden.chunk(job, n, noise.astype(np.float32)))
    return jobs


@pytest.mark.slow
async def test_one_chunk_equals_the_golden_mel(
    golden_s2mel: GoldenS2Mel, engine: S2MelEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = [key for key in golden_s2mel.cfm if key.startswith("out_")]
    assert outputs
    for key in outputs:
        name, steps, guidance = key.removeprefix("out_").split("_")
        z = golden_s2mel.cfm[f"z_{name}"][0].numpy()
        monkeypatch.setattr(mel_model, "normals", lambda *_, z=z: z[:, -_[3] :])
        job = golden_s2mel.job(
            name, steps=int(steps.removeprefix("steps")), guidance=float(guidance.removeprefix("cfg"))
        )
        mel = await mel_of(engine, job)
        np.testing.assert_allclose(mel, golden_s2mel.cfm[key][0].numpy(), atol=1e-4, rtol=0)


@pytest.mark.slow
async def test_a_chunk_equals_the_solver(golden_s2mel: GoldenS2Mel, engine: S2MelEngine) -> None:
    for job in mixed_jobs(golden_s2mel, 4):
        for asked in (job, replace(job, open_end=True)):
            mel = await mel_of(engine, asked)
            assert mel.dtype == np.float32
            new = golden_s2mel.frames(len(job.codes)) - job.committed_frames
            assert mel.shape == (golden_s2mel.mel_channels, new)
            np.testing.assert_allclose(mel, golden_s2mel.solve(asked), atol=ALONE, rtol=0)


@pytest.mark.slow
async def test_the_result_depends_on_nothing_but_the_job(golden_s2mel: GoldenS2Mel) -> None:
    jobs = mixed_jobs(golden_s2mel, 12)
    order = np.random.default_rng(3).permutation(len(jobs))
    shared, limited = golden_s2mel.engine(), golden_s2mel.engine(max_rows=5, max_step_frames=1500)
    for engine in (shared, limited):
        engine.start()
    try:
        alone = [await mel_of(shared, job) for job in jobs]
        for engine in (shared, limited):
            tasks: dict[int, asyncio.Task[Any]] = {}
            for i in order:
                slacked = replace(jobs[i], slack_s=float(i % 4))
                tasks[int(i)] = asyncio.create_task(mel_of(engine, slacked))
                await asyncio.sleep(0.003 * (i % 3))
            for i, job_alone in enumerate(alone):
                np.testing.assert_allclose(await tasks[i], job_alone, atol=ALONE, rtol=0)
        last: Reply[Mel | None] = await shared.mel(jobs[0])
        assert last.metrics.rows_stepped > last.metrics.steps
    finally:
        shared.stop()
        limited.stop()


@pytest.mark.slow
async def test_noise_is_a_function_of_seed_and_stream(golden_s2mel: GoldenS2Mel, engine: S2MelEngine) -> None:
    job = golden_s2mel.job(golden_s2mel.names[0], steps=2)
    first = await mel_of(engine, job)
    assert np.array_equal(first, await mel_of(engine, job))
    assert not np.allclose(first, await mel_of(engine, replace(job, seed=8)))
    assert not np.allclose(first, await mel_of(engine, replace(job, stream=1)))


async def test_noise_does_not_move_with_what_is_committed(
    golden_s2mel: GoldenS2Mel, engine: S2MelEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        mel_model,
        "normals",
        lambda *wanted: asked.append(wanted) or np.zeros((wanted[4], wanted[3]), np.float32),
    )
    job = golden_s2mel.job(golden_s2mel.names[0], steps=1)
    channels, total = golden_s2mel.mel_channels, golden_s2mel.frames(len(job.codes))
    await engine.mel(job)
    await engine.mel(replace(job, committed_frames=5, committed=np.zeros((channels, 5), np.float32)))
    assert asked == [(7, 0, 0, total, channels), (7, 0, 5, total - 5, channels)]


async def test_a_voice_is_fetched_once(golden_s2mel: GoldenS2Mel, engine: S2MelEngine) -> None:
    name = golden_s2mel.names[0]
    before = golden_s2mel.references[name].fetched
    for seed in range(3):
        await engine.mel(golden_s2mel.job(name, steps=1, seed=seed))
    assert golden_s2mel.references[name].fetched == before + 1
    stats = engine.voices.stats()
    assert (stats.items, stats.hits) == (1, 2)


async def test_a_voice_too_large_for_the_cache_still_works(golden_s2mel: GoldenS2Mel) -> None:
    engine = golden_s2mel.engine(voice_cache_mb=0)
    engine.start()
    try:
        job = golden_s2mel.job(golden_s2mel.names[0], steps=1)
        np.testing.assert_array_equal(await mel_of(engine, job), await mel_of(engine, job))
        assert engine.voices.stats().items == 0
    finally:
        engine.stop()


async def test_a_cancelled_job_frees_its_row(golden_s2mel: GoldenS2Mel, engine: S2MelEngine) -> None:
    name = golden_s2mel.names[0]
    task = asyncio.create_task(engine.mel(golden_s2mel.job(name, steps=5000)))
    while not engine._engine.metrics().steps:
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    reply: Reply[Mel | None] = await engine.mel(golden_s2mel.job(name, steps=1))
    assert (reply.metrics.held_jobs, reply.metrics.held_rows, reply.metrics.cancelled) == (0, 0, 1)


def model_of(golden: GoldenS2Mel) -> MelModel:
    return MelModel(
        golden.networks, golden.source, frames_per_code=golden.frames_per_code, voice_cache_bytes=1 << 24
    )


def task_of(golden: GoldenS2Mel, model: MelModel, job: S2MelJob) -> MelTask:
    profile = golden.references[job.voice.key.removeprefix("voice-")].profile
    return MelTask(job, profile, None, partial(model.noise, job))


def test_a_row_is_prepared_in_its_first_step_and_counts_for_it(
    golden_s2mel: GoldenS2Mel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Admission must not hold up the rows under way, so nothing is computed in it."""
    model = model_of(golden_s2mel)
    jobs = mixed_jobs(golden_s2mel, 3)
    regulated: list[int] = []
    regulate = golden_s2mel.networks.length_regulator.regulate

    def watched(projected: Any, frames: Any) -> Any:
        regulated.append(len(frames))
        return regulate(projected, frames)

    monkeypatch.setattr(golden_s2mel.networks.length_regulator, "regulate", watched)
    monkeypatch.setattr(model._solver, "admit", lambda *_, **__: pytest.fail("work in admission"))
    rows = [model.admit(task_of(golden_s2mel, model, job)) for job in jobs]
    assert regulated == []
    assert all(row.flow is None for row in rows)
    monkeypatch.undo()
    monkeypatch.setattr(golden_s2mel.networks.length_regulator, "regulate", watched)
    new = model.cost(rows)
    assert all(model.cost(rows[:n]) < model.cost(rows[: n + 1]) for n in (1, 2))
    model.step(rows)
    assert sorted(regulated) == [1, 1, len(jobs)], "two voices alone, all new rows together"
    assert model.cost(rows) < new


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": np.zeros(0, np.int64), "latents": None}, "0 codes from 0"),
        ({"first_code": -1}, "from -1 on"),
        ({"codes": np.full(4, -1), "latents": None}, "only 0 to"),
        ({"codes": np.full(4, 10**6), "latents": None}, "only 0 to"),
        ({"latents": np.zeros((3, 5), np.float32)}, "expected"),
        ({"committed": 10**4}, "committed already"),
        ({"committed_frames": -1}, "committed already"),
        ({"committed": np.zeros((1, 0), np.float32)}, "expected"),
        ({"committed": np.zeros((80, 3), np.float32)}, "expected"),
        ({"steps": 0}, "at least 1"),
    ],
)
async def test_senseless_jobs_are_refused(
    golden_s2mel: GoldenS2Mel, engine: S2MelEngine, changes: dict[str, Any], message: str
) -> None:
    job = golden_s2mel.job(golden_s2mel.names[0])
    if "latents" in changes and changes["latents"] is None:
        changes = changes | {"latents": np.zeros((len(changes["codes"]), job.latents.shape[1]), np.float32)}
    if isinstance(frames := changes.get("committed"), int):
        committed = np.zeros((golden_s2mel.mel_channels, frames), np.float32)
        changes = changes | {"committed": committed, "committed_frames": frames}
    with pytest.raises(InvalidRequest, match=message):
        await engine.mel(replace(job, **changes))


@pytest.mark.slow
async def test_a_bad_job_fails_alone(golden_s2mel: GoldenS2Mel, engine: S2MelEngine) -> None:
    good = golden_s2mel.job(golden_s2mel.names[0], steps=4)
    frames = 17000  # more than the model has positions
    long_mel = np.zeros((golden_s2mel.mel_channels, frames), np.float32)
    profile = golden_s2mel.references[golden_s2mel.names[0]].profile

    async def too_long() -> VoiceProfile:
        return VoiceProfile(dict(profile.arrays) | {"mel": long_mel})

    async def lacking() -> VoiceProfile:
        return VoiceProfile({"mel": profile["mel"]})

    bad = [
        replace(good, voice=replace(good.voice, key="long", profile=too_long())),
        replace(good, voice=replace(good.voice, key="lacking", profile=lacking())),
        replace(good, latents=np.full_like(good.latents, np.nan)),
    ]
    jobs = [good, *bad, replace(good, seed=9)]
    results = await asyncio.gather(*(mel_of(engine, job) for job in jobs), return_exceptions=True)
    assert isinstance(results[1], InvalidRequest)
    assert "16384" in str(results[1])
    assert isinstance(results[2], KeyError)
    assert isinstance(results[3], SpeechError)
    assert "not finite" in str(results[3])
    for job, result in ((jobs[0], results[0]), (jobs[4], results[4])):
        np.testing.assert_allclose(result, golden_s2mel.solve(job), atol=ALONE, rtol=0)
    engine.check_health()


@pytest.mark.slow
async def test_overload_is_refused_but_not_in_the_middle_of_a_request(golden_s2mel: GoldenS2Mel) -> None:
    engine = golden_s2mel.engine(max_rows=1, max_waiting=1)
    engine.start()
    try:
        job = golden_s2mel.job(golden_s2mel.names[0], steps=20)
        jobs = [job] * 5 + [replace(job, refusable=False)]
        results = await asyncio.gather(*(mel_of(engine, each) for each in jobs), return_exceptions=True)
        assert sum(isinstance(each, Overloaded) for each in results) == 3
        assert sum(isinstance(each, np.ndarray) for each in results) == 3
        assert isinstance(results[-1], np.ndarray)
    finally:
        engine.stop()


async def test_a_job_is_not_begun_after_its_deadline(golden_s2mel: GoldenS2Mel) -> None:
    engine = golden_s2mel.engine(max_rows=1)
    engine.start()
    try:
        busy = asyncio.create_task(engine.mel(golden_s2mel.job(golden_s2mel.names[0], steps=5000)))
        while not engine._engine.metrics().steps:
            await asyncio.sleep(0.001)
        late = golden_s2mel.job(golden_s2mel.names[0], deadline=Deadline.after(0.05))
        began_s = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await engine.mel(late)
        assert time.monotonic() - began_s >= 0.05
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
    finally:
        engine.stop()
