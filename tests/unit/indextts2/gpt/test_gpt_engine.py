"""The GPT's engine on the golden checkpoint, without Ray."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpt_jobs import PARAMS, CountedProfile, Golden, changed, collect, joined, metrics, same_latents

from deployments.core.deadline import Deadline
from deployments.core.errors import DeadlineExceeded, InvalidRequest, Overloaded, SpeechError, Unavailable
from deployments.core.metrics import Reply
from deployments.indextts2.gpt.deployment import Gpt
from deployments.indextts2.gpt.engine import GptEngine
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.gpt.row import CodeRow, GptTask
from deployments.indextts2.sampling import Params
from deployments.indextts2.settings import GptSettings
from deployments.voices.profile import VoiceProfile
from deployments.voices.sharing import SharedVoice

Start = Callable[..., GptEngine]


@pytest.fixture(scope="module")
def golden_gpt(golden_front: Path) -> Golden:
    return Golden.load(golden_front)


@pytest.fixture
def started(golden_gpt: Golden) -> Iterator[Start]:
    engines = []

    def start(golden: Golden = golden_gpt, **limits: Any) -> GptEngine:
        engine = GptEngine(golden.model, GptSettings(**{"slots": 24, "max_waiting": 500, **limits}))
        engine.start()
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.stop()


async def until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        await asyncio.sleep(0.001)


def idle(engine: GptEngine) -> bool:
    now = metrics(engine)
    return engine._model.free_slots == now.rows and not now.held_jobs and not now.waiting_jobs


@pytest.mark.slow
async def test_32_mixed_jobs_at_once_equal_one_by_one(started: Start, golden_gpt: Golden) -> None:
    engine = started(prefill_rows=100)
    jobs = [golden_gpt.job(number, slack_s=number % 5 / 10) for number in range(32)]
    alone = [joined(await collect(engine, job)) for job in jobs]
    together = await asyncio.gather(*(collect(engine, job) for job in jobs))
    for job, chunks, (codes, latents) in zip(jobs, together, alone, strict=True):
        assert joined(chunks)[0] == codes
        same_latents(joined(chunks)[1], latents, 1e-4)
        decoded, expected = await golden_gpt.alone(job)
        assert codes == list(decoded.codes)
        same_latents(latents, expected, 1e-4)
    assert len({tuple(codes) for codes, _ in alone}) > 8, "the jobs are too alike to tell anything"
    assert metrics(engine).batch_rows > 1
    assert idle(engine)


@pytest.mark.slow
async def test_chunk_sizes_change_nothing(started: Start, golden_gpt: Golden) -> None:
    engine = started()
    for params in PARAMS:
        short = changed(params, max_codes=golden_gpt.up_to(40))
        whole, *rest = [
            joined(await collect(engine, golden_gpt.job(1, params=short, emit_codes=n)))
            for n in (0, 1, 3, 50)
        ]
        for codes, latents in rest:
            assert codes == whole[0]
            same_latents(latents, whole[1])


@pytest.mark.slow
async def test_seed_and_stream_decide_the_draws(started: Start, golden_gpt: Golden) -> None:
    engine = started()
    params = Params(num_beams=1, temperature=1.5, top_k=0, top_p=1.0, max_codes=golden_gpt.up_to(40))

    async def codes(seed: int, stream: int) -> list[int]:
        job = golden_gpt.job(0, params=params, seed=seed, stream=stream)
        return joined(await collect(engine, job))[0]

    assert await codes(1, 0) == await codes(1, 0)
    assert len({tuple(await codes(seed, stream)) for seed in (1, 2) for stream in (0, 1, 2)}) == 6


@pytest.fixture(scope="module")
def endless(golden_front: Path) -> Golden:
    """The same checkpoint, but every decoding runs into its limit."""
    return Golden.load(golden_front, stop_bias=-1e6)


def long_job(endless: Golden, **changes: Any) -> GptJob:
    params = Params(num_beams=1, max_codes=endless.model.max_codes)
    return endless.job(2, params=params, **{"emit_codes": 1, **changes})


class Watched:
    """Which jobs each step ran, and how many steps had begun when a job was submitted."""

    def __init__(self, engine: GptEngine) -> None:
        self.steps: list[set[int]] = []
        self.submitted: dict[int, int] = {}
        model, runner = engine._model, engine._engine
        admit, step, submit = model.admit, model.step, runner._submit
        seeds: dict[CodeRow, int] = {}

        def watched_admit(task: GptTask) -> CodeRow:
            row = admit(task)
            seeds[row] = task.job.seed
            return row

        def watched_step(rows: Sequence[CodeRow]) -> Any:
            self.steps.append({seeds[row] for row in rows})
            return step(rows)

        def watched_submit(task: GptTask, *how: Any) -> Any:
            request = submit(task, *how)
            self.submitted[task.job.seed] = len(self.steps)
            return request

        model.admit, model.step = watched_admit, watched_step  # type: ignore[method-assign]
        runner._submit = watched_submit  # type: ignore[method-assign]


@pytest.mark.slow
async def test_leaving_frees_the_slots_before_the_next_step(started: Start, endless: Golden) -> None:
    engine = started(endless, slots=4)
    watched = Watched(engine)
    stays = asyncio.create_task(collect(engine, long_job(endless, seed=1)))
    leaves = engine.stream(long_job(endless, seed=2))
    await anext(leaves)
    await leaves.aclose()
    begun = len(watched.steps)
    await stays
    # The next step may have chosen its rows already when the caller left.
    assert all(seeds == {1} for seeds in watched.steps[begun + 1 :])
    await until(lambda: idle(engine))
    assert metrics(engine).cancelled == 1


@pytest.mark.slow
async def test_200_random_disconnects_leave_nothing(started: Start, golden_gpt: Golden) -> None:
    engine, chance = started(slots=9, max_waiting=1000), random.Random(4)

    async def client(number: int) -> None:
        await asyncio.sleep(chance.random() * 0.5)
        listen = read(
            engine.stream(golden_gpt.job(number, emit_codes=number % 3)), chance.choice((1, 2, 3, 6))
        )
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(listen, chance.random() * 0.3)

    async def read(stream: AsyncGenerator[Reply[CodeChunk], None], most: int) -> None:
        async with contextlib.aclosing(stream):
            async for _ in stream:
                most -= 1
                if most == 0:
                    return

    before = len(asyncio.all_tasks())
    await asyncio.gather(*(client(number) for number in range(200)))
    await until(lambda: idle(engine))
    assert len(asyncio.all_tasks()) == before
    assert metrics(engine).cancelled > 20
    assert metrics(engine).failed == 0
    assert joined(await collect(engine, golden_gpt.job(2)))[0]


@pytest.mark.slow
async def test_a_late_joiner_runs_in_the_next_step(started: Start, endless: Golden) -> None:
    engine = started(endless)
    watched = Watched(engine)
    others = [asyncio.create_task(collect(engine, long_job(endless, seed=i))) for i in range(6)]
    await until(lambda: len(watched.steps) >= 3)
    late = asyncio.create_task(collect(engine, long_job(endless, seed=99)))
    await asyncio.gather(late, *others)
    first = next(number for number, seeds in enumerate(watched.steps) if 99 in seeds)
    assert first <= watched.submitted[99] + 1
    # Its prefix and its first code are of the same step, so it takes no step more than it has codes.
    assert sum(99 in seeds for seeds in watched.steps) == len(joined(await late)[0])


@pytest.mark.slow
async def test_wide_jobs_wait_for_slots_and_never_lock(started: Start, golden_gpt: Golden) -> None:
    engine = started(slots=5)
    jobs = [golden_gpt.job(number, emit_codes=3 * (number % 2)) for number in range(18)]
    results = await asyncio.wait_for(asyncio.gather(*(collect(engine, job) for job in jobs)), 60)
    assert all(chunks[-1].finished for chunks in results)
    assert idle(engine)


async def test_errors_belong_to_one_job(started: Start, golden_gpt: Golden) -> None:
    engine = started()
    sound = golden_gpt.job(1)
    (expected, _) = joined(await collect(engine, sound))
    nan = VoiceProfile({"speaker_latents": np.full_like(golden_gpt.latents, np.nan)})
    bad = replace(sound, voice=SharedVoice("nan", CountedProfile(nan)))
    results: list[Any] = await asyncio.gather(
        *(collect(engine, job) for job in (sound, bad, sound)), return_exceptions=True
    )
    assert isinstance(results[1], SpeechError)
    assert joined(results[0])[0] == joined(results[2])[0] == expected
    engine.check_health()
    assert idle(engine)


async def test_overload_is_refused_at_once_and_the_rest_finishes(started: Start, golden_gpt: Golden) -> None:
    engine = started(slots=2, max_waiting=4)
    jobs = [golden_gpt.job(0, emit_codes=0) for _ in range(10)]
    results: list[Any] = await asyncio.gather(*(collect(engine, job) for job in jobs), return_exceptions=True)
    refused = [each for each in results if isinstance(each, Overloaded)]
    assert len(refused) == 4
    assert all(error.retry_after_s is not None and error.retry_after_s > 0 for error in refused)
    assert len({tuple(joined(each)[0]) for each in results if not isinstance(each, Overloaded)}) == 1


@contextlib.asynccontextmanager
async def held_up(engine: GptEngine, job: GptJob) -> AsyncGenerator[None, None]:
    """The job runs, and its first step takes as long as the block."""
    begun, go_on, step = threading.Event(), threading.Event(), engine._model.step

    def slow_step(rows: Sequence[CodeRow]) -> Any:
        begun.set()
        go_on.wait()
        return step(rows)

    engine._model.step = slow_step  # type: ignore[method-assign]
    runs = asyncio.create_task(collect(engine, job))
    await until(begun.is_set)
    try:
        yield
    finally:
        go_on.set()
    await runs


@pytest.mark.slow
async def test_what_waits_beyond_its_deadline_fails(started: Start, endless: Golden) -> None:
    engine = started(endless, slots=2)
    async with held_up(engine, long_job(endless)):
        late = asyncio.create_task(collect(engine, long_job(endless, deadline=Deadline.after(0.01))))
        await asyncio.sleep(0.02)
    with pytest.raises(DeadlineExceeded):
        await late
    never: Any = asyncio.Event().wait()
    job = long_job(endless, voice=SharedVoice("never", never), deadline=Deadline.after(0.01))
    with pytest.raises(DeadlineExceeded, match="voice"):
        await collect(engine, job)


@pytest.mark.slow
async def test_only_refusable_jobs_are_refused(started: Start, endless: Golden) -> None:
    engine = started(endless, slots=2, max_waiting=0)
    async with held_up(engine, long_job(endless)):
        with pytest.raises(Overloaded):
            await collect(engine, long_job(endless))
        waits = asyncio.create_task(collect(engine, long_job(endless, refusable=False)))
        await until(lambda: metrics(engine).waiting_jobs == 1)
    assert joined(await waits)[0]


@pytest.mark.slow
async def test_a_profile_is_fetched_on_a_miss_only(started: Start, golden_gpt: Golden) -> None:
    engine = started()
    profile = CountedProfile(VoiceProfile({"speaker_latents": golden_gpt.latents}))
    job = golden_gpt.job(1, voice=SharedVoice("anna", profile))
    for _ in range(3):
        await collect(engine, job)
    assert profile.fetched == 1
    assert engine.voices.stats().items == 1


async def test_a_voice_of_another_model_is_refused(started: Start, golden_gpt: Golden) -> None:
    engine = started()
    for arrays in ({"speaker_latents": golden_gpt.latents[:, :-1]}, {"style": golden_gpt.latents}):
        voice = SharedVoice("other", CountedProfile(VoiceProfile(arrays)))
        with pytest.raises(InvalidRequest, match="another model") as caught:
            await collect(engine, golden_gpt.job(1, voice=voice))
        assert caught.value.param == "voice"


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"text_ids": ()}, "input", "no tokens"),
        ({"text_ids": (0, 1)}, "input", "no tokens"),
        ({"text_ids": (5,) * 10_000}, "input", "may have"),
        ({"text_ids": (5, 10**6)}, "input", "knows 0 to"),
        ({"text_ids": (5, -1)}, "input", "knows 0 to"),
        ({"emotion": np.zeros(3, np.float32)}, "emotion", "finite numbers"),
        ({"emit_codes": -1}, "emit_codes", "at least 0"),
        ({"slack_s": float("nan")}, "slack_s", "seconds"),
        (
            {"params": Params(num_beams=8, max_codes=9), "emit_codes": 1},
            "num_beams",
            "9 in all; this server has 8",
        ),
        ({"params": Params(num_beams=1, max_codes=100_000)}, "max_codes", "may be"),
    ],
)
async def test_bad_jobs_are_named_before_the_engine(
    started: Start, golden_gpt: Golden, changes: dict[str, Any], param: str, words: str
) -> None:
    engine = started(slots=8)
    with pytest.raises(InvalidRequest, match=words) as caught:
        await collect(engine, golden_gpt.job(1, **changes))
    assert caught.value.param == param
    assert metrics(engine).failed == 0


async def test_a_full_slot_is_a_reached_limit(started: Start, endless: Golden) -> None:
    text = endless.texts[1]
    length = endless.model.dims.condition_num_latent + 2 + len(text) + 2
    for emit_codes in (0, 2):
        engine = started(endless, max_length=length + 5)
        job = long_job(endless, emit_codes=emit_codes, text_ids=text)
        chunks = await collect(engine, job)
        assert chunks[-1].limit_reached
        assert len(joined(chunks)[0]) == 5
        with pytest.raises(InvalidRequest, match="split it"):
            await collect(engine, replace(job, text_ids=endless.texts[2]))


async def test_a_stopped_engine_is_unavailable(started: Start, golden_gpt: Golden) -> None:
    engine = started()
    engine.check_health()
    engine.stop()
    with pytest.raises(Unavailable):
        engine.check_health()
    with pytest.raises(Unavailable):
        await collect(engine, golden_gpt.job(1))


async def test_half_precision_speaks(golden_front: Path) -> None:
    golden = Golden.load(golden_front)
    golden.model.to(torch.bfloat16)
    engine = GptEngine(golden.model, GptSettings(slots=6, max_waiting=10))
    engine.start()
    try:
        for emit_codes in (0, 4):
            codes, latents = joined(await collect(engine, golden.job(4, emit_codes=emit_codes)))
            assert latents.shape == (len(codes), golden.model.dims.model_dim)
            assert np.isfinite(latents).all()
    finally:
        engine.stop()


async def test_what_serve_calls(golden_front: Path, golden_gpt: Golden) -> None:
    stage = Gpt.__new__(Gpt)
    settings = GptSettings(slots=4, max_waiting=8)
    await stage.__init__(str(golden_front / "ckpt"), "cpu", settings)  # type: ignore[misc]
    job = golden_gpt.job(1, emit_codes=3)
    assert await stage.ready()
    replies = [reply async for reply in stage.stream(job)]
    codes, _ = joined([reply.value for reply in replies])
    assert codes == list((await golden_gpt.alone(job))[0].codes)
    first, last = replies[0].metrics, replies[-1].metrics
    assert (first.held_jobs, first.rows, last.finished) == (1, 4, 1)
    assert last.replica
    stream = stage.stream(golden_gpt.job(1, emit_codes=1))
    await anext(stream)
    await stream.aclose()
    await until(lambda: idle(stage._engine))
    stage.check_health()
    stage._engine.stop()
