"""The Python handle inside a real cluster."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from cluster import SMALL, Cluster
from toys.tones import tone

from deployments.core.errors import InvalidRequest, NotFound, Overloaded, SpeechError, Unavailable
from deployments.core.speech import AudioChunk, StreamEnd, StreamStart
from serve_app import connect


async def test_speak_returns_all_samples(cluster: Cluster) -> None:
    speech = await connect().speak("one two three", model="toy")
    assert (speech.model, speech.voice, speech.sample_rate_hz) == ("toy", "toy-tone", 16_000)
    assert np.array_equal(speech.samples, np.concatenate([tone(i) for i in range(3)]))
    assert speech.duration_s == pytest.approx(0.3)


async def test_events_start_with_the_decision_and_end_with_totals(cluster: Cluster) -> None:
    events = [event async for event in connect().events("one two", model="toy")]
    assert isinstance(events[0], StreamStart)
    assert events[0].reason == "explicit"
    assert all(isinstance(event, AudioChunk) for event in events[1:-1])
    assert isinstance(events[-1], StreamEnd)
    assert events[-1].audio_s == pytest.approx(0.2)


async def test_errors_arrive_with_their_fields(cluster: Cluster) -> None:
    with pytest.raises(NotFound) as missing:
        await connect().speak("hello", model="nobody")
    assert missing.value.code == "model_not_found"
    assert missing.value.param == "model"
    assert "toy" in missing.value.message
    with pytest.raises(InvalidRequest, match="empty"):
        await connect().speak("  ", model="toy")


async def test_leaving_early_stops_the_stage(cluster: Cluster) -> None:
    stream = connect().stream("slow " * 100, model="toy")
    await anext(stream)
    await stream.aclose()
    assert await cluster.settled("toy")
    assert (await cluster.counts("toy"))["made"] < 100


async def test_another_model_answers_before_the_first_audio(cluster: Cluster) -> None:
    events = connect().events("one two three", model="off", fallback=True)
    start = await anext(events)
    await events.aclose()
    assert isinstance(start, StreamStart)
    assert start.model != "off"
    assert start.reason == "fallback:off"
    assert "model 'off' cannot answer now" in start.warnings[0]
    assert (await connect().speak("one two", model="off", fallback=True)).warnings == start.warnings


@pytest.mark.parametrize("fallback", [None, False])
async def test_no_other_model_where_one_is_named(cluster: Cluster, fallback: bool | None) -> None:
    with pytest.raises(Unavailable, match="switched off") as error:
        await connect().speak("one two", model="off", fallback=fallback)
    assert error.value.retry_after_s == 1


async def test_failure_after_the_first_audio_is_not_hidden(cluster: Cluster) -> None:
    stream = connect().stream("one break three", model="toy", fallback=True)
    assert len(await anext(stream)) > 0
    with pytest.raises(SpeechError, match="failed on this request"):
        async for _ in stream:
            pass


async def test_full_queue_is_refused_at_once_and_accepted_requests_finish(cluster: Cluster) -> None:
    tts = connect(SMALL)
    answers = await asyncio.gather(*(tts.speak("slow " * 10) for _ in range(12)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert len(refused) == 8
    assert all(error.retry_after_s == 1.5 for error in refused)
    assert not [a for a in answers if isinstance(a, BaseException) and not isinstance(a, SpeechError)]
    assert all(len(a.samples) == 16_000 for a in answers if not isinstance(a, BaseException))
    assert await cluster.settled("tiny", SMALL)
