from __future__ import annotations

import asyncio
import time

import pytest
from kokoro_fakes import LONG, METRICS, RATE_HZ, SEGMENT_S, Stage, pipeline, plan, spoken

from benchmarks.virtual_time import in_virtual_time
from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import InvalidRequest, Overloaded, Unavailable
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd
from deployments.streaming.playback import FIRST_DUE_S
from deployments.text.pauses import pause_mark


async def test_all_of_the_text_is_spoken_in_order_and_the_end_says_how_long() -> None:
    stage = Stage()
    *chunks, end = await spoken(stage, LONG)
    assert "".join("".join(job.text.split()) for job in stage.jobs) == "".join(LONG.split())
    assert len(stage.jobs) >= 3
    assert all(isinstance(chunk, AudioChunk) for chunk in chunks)
    assert [chunk.segment for chunk in chunks] == sorted(chunk.segment for chunk in chunks)
    assert isinstance(end, StreamEnd)
    assert end.audio_s == pytest.approx(sum(len(chunk.samples) for chunk in chunks) / RATE_HZ)
    assert end.stage_s.keys() == {"queue", "kokoro"}


async def test_segments_are_trimmed_and_the_pause_is_between_not_after() -> None:
    *chunks, _ = await spoken(Stage(), "One sentence is here. Another one follows it.", pause_ms=400)
    first, pause, second = chunks
    assert len(first.samples) / RATE_HZ == pytest.approx(SEGMENT_S + 0.08, abs=0.01)
    assert len(pause.samples) / RATE_HZ == pytest.approx(0.4)
    assert not pause.samples.any()
    assert first.samples[0] == second.samples[-1] == 0


@pytest.mark.parametrize("speed", [0.25, 1.0, 2.0, 4.0])
async def test_a_pause_that_was_asked_for_is_as_long_at_any_speed(speed: float) -> None:
    text = "One sentence is here. Another one follows it."
    tempo = (await plan(text, speed=speed)).tempo
    _, pause, *_ = await spoken(Stage(), text, pause_ms=400, speed=speed)
    assert len(pause.samples) / RATE_HZ / tempo == pytest.approx(0.4)


@pytest.mark.parametrize("speed", [0.25, 1.0, 4.0])
async def test_a_pause_that_the_text_asks_for_is_exact_whatever_else_is_asked(speed: float) -> None:
    text = f"{pause_mark(0.5)}Wait{pause_mark(1.0)}for it.{pause_mark(2.0)}"
    tempo = (await plan(text, speed=speed)).tempo
    stage = Stage()
    first, middle, second, last, _ = await spoken(stage, text, pause_ms=400, speed=speed)
    assert [job.text for job in stage.jobs] == ["Wait", "for it."]
    lead = round(0.5 * tempo * RATE_HZ)
    assert not first.samples[:lead].any()
    assert len(first.samples) == lead + len(second.samples)
    assert len(middle.samples) / RATE_HZ / tempo == pytest.approx(1.0)
    assert len(last.samples) / RATE_HZ / tempo == pytest.approx(2.0)
    assert not middle.samples.any()
    assert not last.samples.any()


async def test_no_pause_inside_a_clause_though_it_was_asked_for() -> None:
    text = "This sentence goes on " + "and on until the evening comes " * 12
    stage = Stage()
    *chunks, _ = await spoken(stage, text, pause_ms=400)
    assert len(stage.jobs) > 2
    assert all(chunk.samples.any() for chunk in chunks)


async def test_no_pause_no_chunk() -> None:
    *chunks, _ = await spoken(Stage(), "One sentence is here. Another one follows it.", pause_ms=0)
    assert len(chunks) == 2


def test_the_first_segment_is_awaited_and_later_ones_may_take_what_the_listener_has() -> None:
    stage = Stage()
    *chunks, _ = in_virtual_time(lambda: spoken(stage, LONG))
    slack = [job.slack_s for job in stage.jobs]
    sent_s = [
        sum(len(chunk.samples) / RATE_HZ for chunk in chunks if chunk.segment < index)
        for index in range(len(slack))
    ]
    assert len(slack) >= 3
    assert slack == pytest.approx([FIRST_DUE_S, *sent_s[1:]])


async def test_only_the_first_segment_may_be_refused_and_has_the_deadline() -> None:
    stage = Stage()
    deadline = Deadline.after(9)
    await spoken(stage, LONG, deadline=deadline)
    first, *later = stage.jobs
    assert (first.refusable, first.deadline, first.request_id) == (True, deadline, "id")
    assert later
    assert all((job.refusable, job.deadline) == (False, NEVER) for job in later)


async def test_what_the_stage_says_of_itself_is_noted() -> None:
    speaker = pipeline()
    _ = [event async for event in speaker.stream(await speaker.plan(SpeechRequest("id", "Hello.")))]
    assert speaker.monitor.stages() == {"kokoro": [METRICS]}


def test_work_goes_on_though_nobody_takes_the_audio() -> None:
    stage = Stage(delay_s=1)

    async def slow_client() -> list[int]:
        speaker = pipeline(stage)
        stream = speaker.stream(await speaker.plan(SpeechRequest("id", LONG)))
        await anext(stream)
        seen = [len(stage.jobs)]
        await asyncio.sleep(600)
        seen.append(len(stage.jobs))
        _ = [event async for event in stream]
        return [*seen, len(stage.jobs)]

    first, later, at_the_end = in_virtual_time(slow_client)
    assert first <= 2 < later == at_the_end


def test_a_request_has_one_segment_at_the_stage_at_a_time() -> None:
    stage = Stage(delay_s=1)

    async def began_s() -> list[float]:
        speaker = pipeline(stage)
        stream = speaker.stream(await speaker.plan(SpeechRequest("id", LONG)))
        return [
            time.monotonic()
            async for event in stream
            if isinstance(event, AudioChunk) and event.samples.any()
        ]

    assert in_virtual_time(began_s) == pytest.approx([1 + index for index in range(len(stage.jobs))])


def test_a_stream_that_is_closed_cancels_the_segment_that_is_made() -> None:
    stage = Stage(delay_s=1)

    async def leave() -> None:
        speaker = pipeline(stage)
        stream = speaker.stream(await speaker.plan(SpeechRequest("id", LONG)))
        await anext(stream)
        await asyncio.sleep(0.5)
        await stream.aclose()
        await asyncio.sleep(600)

    in_virtual_time(leave)
    assert [call.cancelled for call in stage.calls] == [False, True]


async def test_cancelling_while_waiting_cancels_the_segment() -> None:
    stage = Stage(delay_s=60)
    task = asyncio.create_task(spoken(stage, LONG))
    while not stage.calls:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(call.cancelled for call in stage.calls)


async def test_a_request_that_would_wait_too_long_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    speaker = pipeline(stage, longest_wait_s=10)
    monkeypatch.setattr(speaker._scheduler, "wait_s", lambda stream: 12.2)
    stream = speaker.stream(await speaker.plan(SpeechRequest("id", LONG)))
    with pytest.raises(Overloaded, match="would begin in 12 s at the present load") as caught:
        await anext(stream)
    assert caught.value.retry_after_s == 3
    assert stage.jobs == []


async def test_a_failure_is_raised_and_never_skipped() -> None:
    stage = Stage(fails_at=1)
    with pytest.raises(Unavailable, match="down"):
        await spoken(stage, LONG)


@pytest.mark.parametrize("mute", [{0}, {1}, {0, 1}, {2}], ids=str)
async def test_a_segment_that_cannot_be_spoken_is_left_out_with_a_warning(mute: set[int]) -> None:
    text = "One sentence is here.\n\nAnother one follows it.\n\nAnd this is the last one of them."
    whole = Stage()
    count = len([e for e in await spoken(whole, text, pause_ms=0, seed=1) if isinstance(e, AudioChunk)])
    assert count == len(whole.jobs) == 3
    stage = Stage(mute=frozenset(mute))
    *chunks, end = await spoken(stage, text, pause_ms=0, seed=1)
    assert len(stage.jobs) == 3
    assert [chunk.segment for chunk in chunks] == [index for index in range(3) if index not in mute]
    assert len(end.warnings) == len(mute)
    for warning, index in zip(end.warnings, sorted(mute), strict=True):
        assert stage.jobs[index].text in warning
        assert "left out" in warning


async def test_a_text_of_which_nothing_can_be_spoken_is_refused() -> None:
    stage = Stage(mute=frozenset(range(50)))
    with pytest.raises(InvalidRequest, match="can be spoken"):
        await spoken(stage, LONG)
    assert len(stage.jobs) > 1


@pytest.mark.parametrize(
    "text", ["7" * 4096, "17 " * 1365, "a" * 4096, "ha" * 2000, "1/" * 2048, "5% " * 1365, "$9" * 2048]
)
async def test_what_would_be_spoken_for_minutes_is_refused_before_anything_is_made(text: str) -> None:
    stage = Stage()
    with pytest.raises(InvalidRequest, match="at most 900 s are allowed") as caught:
        await spoken(stage, text)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "input", "input_too_long")
    assert stage.jobs == []


@pytest.mark.parametrize(
    "text", ["word " * 800, "今天天气很好，" * 580, "In 1995 we sold 300 of them. " * 140]
)
async def test_ordinary_texts_of_full_length_are_spoken(text: str) -> None:
    await spoken(Stage(), text)


async def test_the_bound_may_be_chosen() -> None:
    with pytest.raises(InvalidRequest, match="at most 5 s"):
        await spoken(Stage(), LONG, settings={"longest_audio_s": 5})
