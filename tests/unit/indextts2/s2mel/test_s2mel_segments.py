"""What a replica keeps of a segment: jobs bring only what is new, and nobody can hear the difference."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from s2mel_golden import GoldenS2Mel

from deployments.core.errors import SpeechError
from deployments.indextts2.s2mel.content import SegmentContent
from deployments.indextts2.s2mel.device_cache import DeviceSegment
from deployments.indextts2.s2mel.engine import S2MelEngine
from deployments.indextts2.s2mel.job import Mel, S2MelJob
from deployments.voices.sharing import SharedVoice

LOOK_AHEAD = 3


@pytest.fixture(scope="module")
def golden_s2mel(golden_back: Path) -> GoldenS2Mel:
    return GoldenS2Mel.load(golden_back)


@pytest.fixture
def started(golden_s2mel: GoldenS2Mel) -> Iterator[Callable[..., S2MelEngine]]:
    engines = []

    def start(**settings: int) -> S2MelEngine:
        engines.append(engine := golden_s2mel.engine(**settings))
        engine.start()
        return engine

    yield start
    for engine in engines:
        engine.stop()


def counts_of(job: S2MelJob) -> list[int]:
    n = len(job.codes)
    return [n // 4, n // 2, 2 * n // 3, n]


class Caller:
    """Sends the chunks of one segment as a pipeline does. `answers`: how many of them were None."""

    def __init__(self, golden: GoldenS2Mel, whole: S2MelJob) -> None:
        self.golden = golden
        self.whole = whole
        self.mel: Mel = np.zeros((golden.mel_channels, 0), np.float32)
        self.sent = self.committed = 0
        self.unknown = 0
        self.jobs: list[S2MelJob] = []

    def next_job(self, count: int) -> S2MelJob:
        last = count == len(self.whole.codes)
        return replace(
            self.whole,
            first_code=self.sent,
            codes=self.whole.codes[self.sent : count],
            latents=self.whole.latents[self.sent : count],
            committed_frames=self.committed,
            committed=None,
            open_end=not last,
            last=last,
        )

    def complete(self, job: S2MelJob) -> S2MelJob:
        count = job.code_count
        return replace(
            job,
            first_code=0,
            codes=self.whole.codes[:count],
            latents=self.whole.latents[:count],
            committed=self.mel[:, : job.committed_frames],
        )

    async def advance(self, engine: S2MelEngine, count: int, *, complete: bool = False) -> Mel:
        job = self.next_job(count)
        if complete:
            job = self.complete(job)
        self.jobs.append(job)
        new = (await engine.mel(job)).value
        if new is None:
            self.unknown += 1
            job = self.complete(job)
            new = (await engine.mel(job)).value
            assert new is not None
        self.mel = np.concatenate([self.mel[:, : self.committed], new], axis=1)
        self.sent = count
        heard = count if job.last else count - LOOK_AHEAD
        self.committed = self.golden.frames(heard)
        return new


@pytest.mark.slow
async def test_a_segment_that_is_kept_sounds_like_one_that_is_sent_again(
    golden_s2mel: GoldenS2Mel, started: Callable[..., S2MelEngine]
) -> None:
    """Bit for bit, for every chunk."""
    keeping, forgetting = started(), started(segment_cache_mb=0)
    for name in golden_s2mel.names:
        whole = golden_s2mel.job(name, steps=3)
        kept, sent = Caller(golden_s2mel, whole), Caller(golden_s2mel, whole)
        for count in counts_of(whole):
            assert np.array_equal(
                await kept.advance(keeping, count), await sent.advance(forgetting, count, complete=True)
            )
        assert kept.unknown == 0
        assert kept.mel.shape[1] == golden_s2mel.frames(len(whole.codes))


@pytest.mark.slow
async def test_a_segment_longer_than_a_block_of_codes(
    golden_s2mel: GoldenS2Mel, started: Callable[..., S2MelEngine]
) -> None:
    name = golden_s2mel.names[0]
    short = golden_s2mel.job(name, steps=1)
    times = -(-150 // len(short.codes))
    whole = replace(short, codes=np.tile(short.codes, times), latents=np.tile(short.latents, (times, 1)))
    kept, sent = Caller(golden_s2mel, whole), Caller(golden_s2mel, whole)
    keeping, forgetting = started(), started(segment_cache_mb=0)
    for count in (7, 50, 64, 65, 129, len(whole.codes)):
        new = await kept.advance(keeping, count)
        assert np.array_equal(new, await sent.advance(forgetting, count, complete=True))


async def test_committed_mel_is_the_prompt(
    golden_s2mel: GoldenS2Mel, started: Callable[..., S2MelEngine]
) -> None:
    engine = started()
    caller = Caller(golden_s2mel, golden_s2mel.job(golden_s2mel.names[0], steps=2))
    counts = counts_of(caller.whole)
    await caller.advance(engine, counts[0])
    job = caller.complete(caller.next_job(counts[1]))
    assert job.committed is not None
    other = replace(job, segment="other", committed=job.committed + 1)
    assert not np.allclose((await engine.mel(job)).value, (await engine.mel(other)).value)


@pytest.mark.slow
async def test_any_job_can_be_repeated(
    golden_s2mel: GoldenS2Mel, started: Callable[..., S2MelEngine]
) -> None:
    engine = started()
    caller = Caller(golden_s2mel, golden_s2mel.job(golden_s2mel.names[0], steps=2))
    *counts, _ = counts_of(caller.whole)
    made = [await caller.advance(engine, count) for count in counts]
    for job, mel in zip(caller.jobs, made, strict=True):
        for _ in range(2):
            assert np.array_equal((await engine.mel(job)).value, mel)


@pytest.mark.slow
async def test_another_replica_asks_for_everything(
    golden_s2mel: GoldenS2Mel, started: Callable[..., S2MelEngine]
) -> None:
    replicas = [started(), started()]
    whole = golden_s2mel.job(golden_s2mel.names[0], steps=2)
    moving, alone = Caller(golden_s2mel, whole), Caller(golden_s2mel, whole)
    counts = counts_of(whole)
    for number, count in enumerate(counts):
        new = await moving.advance(replicas[number % 2], count)
        assert np.array_equal(new, await alone.advance(started(), count))
    # The first job is complete. Each one behind it comes to a replica that lacks the codes of the one before.
    assert moving.unknown == alone.unknown == len(counts) - 1


async def test_a_segment_is_dropped_when_it_is_done_or_fails(
    golden_s2mel: GoldenS2Mel, started: Callable[..., S2MelEngine]
) -> None:
    engine = started()
    job = golden_s2mel.job(golden_s2mel.names[0], steps=1)
    await engine.mel(job)
    assert engine.segments.stats().items == 1
    await engine.mel(replace(job, segment=f"{job.segment}-10"))
    await engine.mel(replace(job, last=True))
    assert engine.segments.stats().items == 1, "another one whose name begins alike stays"

    await engine.mel(job)
    with pytest.raises(SpeechError, match="finite"):
        await engine.mel(replace(job, latents=np.full_like(job.latents, np.nan)))
    assert engine.segments.stats().items == 1

    await engine.mel(job)
    task = asyncio.create_task(engine.mel(replace(job, steps=5000)))
    while not engine._engine.metrics().held_jobs:
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert engine.segments.stats().items == 1


@pytest.mark.slow
async def test_kept_segments_are_bounded_in_bytes(
    golden_s2mel: GoldenS2Mel, started: Callable[..., S2MelEngine]
) -> None:
    engine = started(segment_cache_mb=1)
    job = golden_s2mel.job(golden_s2mel.names[0], steps=1)
    await engine.mel(replace(job, segment="s-0"))
    fitting = (1 << 20) // engine.segments.stats().bytes
    for number in range(1, fitting + 2):
        await engine.mel(replace(job, segment=f"s-{number}"))
    stats = engine.segments.stats()
    assert stats.evictions > 0
    assert 0 < stats.bytes <= 1 << 20
    old = replace(job, segment="s-0", first_code=len(job.codes), committed_frames=5)
    assert (await engine.mel(old)).value is None


def test_what_a_segment_knows() -> None:
    segment = DeviceSegment(SegmentContent(np.zeros(10, np.int64), torch.zeros(20, 4)), torch.zeros(3, 17))
    assert segment.knows(10, 17)
    assert not segment.knows(11, 17)
    assert not segment.knows(10, 18)
    assert segment.nbytes == 8 * 10 + 4 * (20 * 4 + 3 * 17)


def test_a_job_carries_what_is_new(golden_s2mel: GoldenS2Mel) -> None:
    name = golden_s2mel.names[0]
    whole = replace(golden_s2mel.job(name), voice=SharedVoice("voice", None))  # type: ignore[arg-type]
    caller = Caller(golden_s2mel, whole)
    caller.sent, caller.committed = len(whole.codes) - 5, 10
    caller.mel = np.zeros((golden_s2mel.mel_channels, 200), np.float32)
    job = caller.next_job(len(whole.codes))
    assert not job.complete
    assert caller.complete(job).complete
    overhead = len(pickle.dumps(replace(job, codes=job.codes[:0], latents=job.latents[:0])))
    assert len(pickle.dumps(job)) - overhead < 1.2 * 5 * (8 + 4 * whole.latents.shape[1])
