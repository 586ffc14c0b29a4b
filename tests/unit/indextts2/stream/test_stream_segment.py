"""One segment through fake stages: every sample once and in order, whatever the chunks; nothing left running."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_fakes import BANDS, DIM, GEOMETRY, FakeStages, SharedProfile, dawdle, turns
from ray.exceptions import ActorDiedError

from deployments.core.errors import Unavailable
from deployments.indextts2.gpt.job import GptJob
from deployments.indextts2.sampling import Params
from deployments.indextts2.stream.chunk_planner import ChunkParameters, ChunkPlanner
from deployments.indextts2.stream.segment import REDRAWN, SegmentStream, Synthesis
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.streaming.playback import Playback
from deployments.voices.sharing import SharedVoice

CHUNKS = ChunkParameters(first_codes=5, growth=2, max_codes=20, lookahead_codes=2)


def segment(
    stages: FakeStages,
    *,
    index: int = 0,
    chunked: bool = True,
    by_deadline: bool = False,
    chunks: ChunkParameters = CHUNKS,
    speeds: StageSpeeds | None = None,
    playback: Playback | None = None,
) -> SegmentStream:
    job = GptJob(
        request_id="r",
        voice=SharedVoice("key", SharedProfile(None)),  # type: ignore[arg-type]
        emotion=np.zeros(DIM, np.float32),
        text_ids=(1, 2, 3),
        params=Params(diffusion_steps=8),
        seed=7,
        stream=index,
        emit_codes=stages.emit if chunked else 0,
    )
    synthesis = Synthesis("r", mel_bands=BANDS, chunked=chunked, by_deadline=by_deadline)
    planner = ChunkPlanner(chunks, GEOMETRY, speeds or StageSpeeds(), 10, 16)
    return SegmentStream(index, job, synthesis, planner, stages, playback or Playback())


async def spoken(stream: SegmentStream) -> np.ndarray:
    async with contextlib.aclosing(stream.samples()) as samples:
        pieces = [piece async for piece in samples]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


async def audio_of(stages: FakeStages, **how: Any) -> np.ndarray:
    """The work begins with the segment, so it is made where it is listened to."""
    return await spoken(segment(stages, **how))


async def test_one_pass_is_one_job() -> None:
    stages = FakeStages({0: 40})
    audio = await spoken(segment(stages, chunked=False))
    assert np.array_equal(audio, stages.expected(0))
    assert [(job.code_count, job.open_end) for job in stages.mel_jobs] == [(40, False)]
    assert stages.gpt_jobs[0].emit_codes == 0
    assert stages.open == 0


async def test_chunks_grow_and_see_the_look_ahead() -> None:
    stages = FakeStages({0: 40})
    audio = await spoken(segment(stages))
    assert np.array_equal(audio, stages.expected(0))
    frames = [(job.code_count, job.committed_frames) for job in stages.mel_jobs]
    assert frames == [(11, 0), (21, GEOMETRY.frames(9)), (40, GEOMETRY.frames(19))]
    assert [job.open_end for job in stages.mel_jobs] == [True, True, False]


async def test_jobs_carry_only_what_is_new() -> None:
    stages = FakeStages({0: 90})
    assert np.array_equal(await spoken(segment(stages)), stages.expected(0))
    jobs = stages.mel_jobs
    assert len(jobs) > 3
    assert sum(len(job.codes) for job in jobs) == 90
    assert all(job.committed is None for job in jobs)
    assert len({job.segment for job in jobs}) == 1
    assert [job.last for job in jobs] == [False] * (len(jobs) - 1) + [True]


async def test_a_replica_that_does_not_know_the_segment_gets_all_of_it() -> None:
    stages = FakeStages({0: 90}, forgetful=True)
    assert np.array_equal(await spoken(segment(stages)), stages.expected(0))
    first, *others = stages.mel_jobs
    assert first.complete
    assert [job.complete for job in others] == [False, True] * (len(others) // 2)


async def test_only_the_first_job_of_a_request_may_be_refused() -> None:
    stages = FakeStages({0: 60})
    await spoken(segment(stages))
    assert stages.gpt_jobs[0].refusable
    assert not any(job.refusable for job in stages.mel_jobs)


async def test_metrics_of_all_stages_are_heard() -> None:
    stages = FakeStages({0: 60})
    await spoken(segment(stages))
    assert set(stages.heard_of) == {"gpt", "s2mel", "vocoder"}


async def test_the_first_chunk_may_have_its_own_steps() -> None:
    stages = FakeStages({0: 40})
    chunks = CHUNKS.model_copy(update={"first_steps": 4})
    await spoken(segment(stages, chunks=chunks))
    assert [job.euler_steps for job in stages.mel_jobs] == [4, 8, 8]
    later = FakeStages({1: 40})
    await spoken(segment(later, index=1, chunks=chunks))
    assert {job.euler_steps for job in later.mel_jobs} == {8}


async def test_a_segment_that_ends_with_the_look_ahead_needs_no_further_job() -> None:
    stages = FakeStages({0: 11}, emit=11)
    assert np.array_equal(await spoken(segment(stages)), stages.expected(0))
    assert [job.code_count for job in stages.mel_jobs] == [11]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(1, 130),
    emit=st.integers(1, 40),
    first=st.integers(1, 40),
    growth=st.floats(1, 5),
    most=st.integers(1, 60),
    lookahead=st.integers(0, 12),
    by_deadline=st.booleans(),
    slow=st.sampled_from([1e-7, 1e-4, 1e-2]),
)
def test_every_sample_once_and_in_order(
    count: int,
    emit: int,
    first: int,
    growth: float,
    most: int,
    lookahead: int,
    by_deadline: bool,
    slow: float,
) -> None:
    stages = FakeStages({0: count}, emit=emit)
    chunks = ChunkParameters(first_codes=first, growth=growth, max_codes=most, lookahead_codes=lookahead)
    speeds = StageSpeeds(start_s2mel_s=slow)
    audio = asyncio.run(audio_of(stages, chunks=chunks, by_deadline=by_deadline, speeds=speeds))
    assert np.array_equal(audio, stages.expected(0))
    assert len(audio) == GEOMETRY.hop * GEOMETRY.frames(count)
    sizes = [job.code_count for job in stages.mel_jobs]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == count
    assert stages.open == 0


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 100),
    emits=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    delays=st.lists(st.integers(0, 3), min_size=1, max_size=6),
)
def test_with_a_seed_the_jobs_do_not_depend_on_how_codes_arrive(
    count: int, emits: tuple[int, int], delays: list[int]
) -> None:
    """The same mel at any load: the planner's borders are a function of the parameters, so its jobs are."""

    def last_job_of_each_border(stages: FakeStages) -> dict[int, tuple[int, bool]]:
        return {job.committed_frames: (job.code_count, job.open_end) for job in stages.mel_jobs}

    async def jittery(place: str) -> None:
        for _ in range(delays[len(place) % len(delays)]):
            await asyncio.sleep(0)

    seen = []
    for emit, pause in zip(emits, (lambda place: asyncio.sleep(0), jittery), strict=True):
        stages = FakeStages({0: count}, emit=emit, pause=pause)
        asyncio.run(audio_of(stages))
        seen.append(last_job_of_each_border(stages))
    assert seen[0] == seen[1]


async def test_s2mel_goes_on_while_the_vocoder_works() -> None:
    waiting = asyncio.Event()

    async def pause(place: str) -> None:
        if place == "vocoder" and stages.places.count("s2mel") < 2:
            await waiting.wait()
        if place == "s2mel" and stages.places.count("s2mel") == 2:
            waiting.set()

    stages = FakeStages({0: 60}, pause=pause)
    assert np.array_equal(await asyncio.wait_for(spoken(segment(stages)), 5), stages.expected(0))


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_segment_without_codes_is_drawn_again_and_mute_then(chunked: bool) -> None:
    stages = FakeStages({2: 0, 2 + REDRAWN: 0})
    stream = segment(stages, index=2, chunked=chunked)
    assert len(await spoken(stream)) == 0
    assert stream.mute
    assert stream.all_codes_there
    assert [job.stream for job in stages.gpt_jobs] == [2, 2 + REDRAWN]
    assert {job.seed for job in stages.gpt_jobs} == {7}
    assert stages.places.count("s2mel") == stages.places.count("vocoder") == 0
    assert stages.open == 0


@pytest.mark.parametrize("chunked", [True, False])
async def test_the_second_draw_is_heard_where_the_first_says_nothing(chunked: bool) -> None:
    stages = FakeStages({2: 0, 2 + REDRAWN: 30})
    stream = segment(stages, index=2, chunked=chunked)
    told: list[int] = []
    stream.when_all_codes_are_there = lambda: told.append(stages.places.count("gpt-end"))
    assert len(await spoken(stream)) == GEOMETRY.frames(30) * GEOMETRY.hop
    assert not stream.mute
    assert told == [2]
    assert {job.stream for job in stages.mel_jobs} == {2 + REDRAWN}, "noise is that of the draw"
    assert stages.open == 0


async def test_a_first_draw_that_runs_into_the_limit_without_a_code_is_no_limit() -> None:
    stream = segment(FakeStages({0: 0, REDRAWN: 9}))
    await spoken(stream)
    assert not stream.limit_reached


async def test_later_segments_do_not_count_on_the_sound_of_a_mute_one() -> None:
    playback = Playback()
    playback.expect(0, 20.0)
    playback.expect(1, 3.0)
    stages = FakeStages({0: 0, REDRAWN: 0})
    await spoken(segment(stages, playback=playback))
    assert playback.slack_s(1) < 5


async def test_the_limit_of_codes_is_remembered() -> None:
    stream = segment(FakeStages({0: 9}, limit_reached=True))
    await spoken(stream)
    assert stream.limit_reached


@pytest.mark.parametrize("place", ["gpt", "gpt-end", "s2mel", "vocoder"])
@pytest.mark.parametrize("chunked", [True, False])
async def test_an_error_of_a_stage_reaches_the_caller_and_stops_the_others(place: str, chunked: bool) -> None:
    def trouble(here: str, visit: int) -> None:
        if here == place and (visit == 2 or place == "gpt-end" or not chunked):
            raise RuntimeError(f"{place} broke")

    stages = FakeStages({0: 60}, emit=9, trouble=trouble, pause=dawdle)
    with pytest.raises(RuntimeError, match=f"{place} broke"):
        await spoken(segment(stages, chunked=chunked))
    await turns()
    assert stages.open == 0


@pytest.mark.parametrize("wrong", ["mel", "vocode"])
async def test_a_stage_that_returns_the_wrong_length_is_caught(wrong: str) -> None:
    stages = FakeStages({0: 30})
    call = getattr(stages, wrong)

    class Short:
        def __init__(self, inner: object) -> None:
            self.inner = inner

        def __await__(self):  # type: ignore[no-untyped-def]
            result = yield from self.inner.__await__()  # type: ignore[attr-defined]
            return replace(result, value=result.value[..., :-1])

        def cancel(self) -> None:
            self.inner.cancel()  # type: ignore[attr-defined]

    setattr(stages, wrong, lambda job: Short(call(job)))
    with pytest.raises(Unavailable, match=r"were asked for|samples of"):
        await spoken(segment(stages))
    await turns()
    assert stages.open == 0


async def test_a_gpt_stream_that_breaks_off_is_an_error() -> None:
    stages = FakeStages({0: 30})

    async def cut(job: GptJob):  # type: ignore[no-untyped-def]
        async for chunk in FakeStages._codes(stages, job):
            if chunk.value.finished:
                return
            yield chunk

    stages._codes = cut  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="without finishing"):
        await spoken(segment(stages))


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [True, False])
async def test_nothing_is_left_running_wherever_the_caller_leaves(chunked: bool) -> None:
    """Cancelled after every possible number of turns of the event loop, and closed after every piece."""
    count = 0
    while True:
        stages = FakeStages({0: 45}, emit=9, pause=dawdle)
        task = asyncio.ensure_future(audio_of(stages, chunked=chunked))
        for _ in range(count):
            await asyncio.sleep(0)
        done = task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await turns()
        assert stages.open == 0, count
        assert len(asyncio.all_tasks()) == 1, count
        if done:
            break
        count += 1
    assert count > 100

    for pieces in range(3):
        stages = FakeStages({0: 45}, emit=9, pause=dawdle)
        stream = segment(stages, chunked=chunked)
        samples = stream.samples()
        for _ in range(pieces):
            await anext(samples, None)
        await samples.aclose()
        await stream.aclose()
        await turns()
        assert stages.open == 0


@pytest.mark.parametrize(
    ("place", "visit"), [("gpt", 1), ("gpt", 4), ("gpt-end", 1), ("s2mel", 1), ("s2mel", 3), ("vocoder", 2)]
)
@pytest.mark.parametrize("chunked", [True, False])
async def test_another_replica_takes_over_from_one_that_dies(place: str, visit: int, chunked: bool) -> None:
    def dies(where: str, number: int) -> None:
        if (where, number) == (place, visit):
            stages.kept.clear()  # the other one does not know the segment
            raise ActorDiedError

    stages = FakeStages({0: 90}, trouble=dies)
    assert np.array_equal(await audio_of(stages, chunked=chunked), stages.expected(0))
    assert stages.open == 0


@pytest.mark.parametrize("place", ["gpt", "s2mel", "vocoder"])
async def test_a_job_is_given_to_two_replicas_at_most(place: str) -> None:
    def dies(where: str, number: int) -> None:
        if where == place:
            raise ActorDiedError

    stages = FakeStages({0: 90}, trouble=dies)
    with pytest.raises(ActorDiedError):
        await audio_of(stages, chunked=False)
    assert stages.places.count(place) == 2
    assert stages.open == 0
