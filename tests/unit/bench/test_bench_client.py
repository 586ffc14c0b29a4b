"""The client against a server of known pauses.

Clocks on a busy machine only add to a pause, so pauses are bounds from below, and what follows from the
arrivals is checked against the arrivals.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest
from bench_toy_server import Script, ToyServer, silence

from serve_app.bench.arrivals import ClosedLoop, OpenLoop
from serve_app.bench.client import SpeechClient, Target
from serve_app.bench.errors import BenchError
from serve_app.bench.metrics import (
    Trace,
    audio_s,
    first_byte_s,
    first_sample_s,
    gaps_s,
    plays_through,
    summarise,
    underrun_s,
)
from serve_app.bench.run import run

# What a sleep may fall short of its time by the resolution of two clocks.
EARLY_S = 0.003


async def observe(toy: ToyServer, script: Script, **settings: Any) -> Trace:
    toy.scripts["text"] = script
    async with SpeechClient(Target(toy.url, **settings)) as client:
        return (await client.speak("text")).trace(0)


async def test_pauses_and_bytes_come_out_as_written(toy: ToyServer) -> None:
    pieces = [(0.03, silence(0.02)), (0.08, silence(0.05)), (0.05, silence(0.25))]
    trace = await observe(toy, Script(pieces))
    assert trace.outcome == "ok"
    assert [arrival.size_bytes for arrival in trace.arrivals] == [960, 2400, 12_000]
    assert audio_s(trace) == pytest.approx(0.32)
    first_s = first_byte_s(trace)
    assert first_s is not None
    assert first_s == first_sample_s(trace)
    assert first_s >= 0.03 - EARLY_S
    gaps = gaps_s(trace)
    assert gaps[0] >= 0.08 - EARLY_S
    assert gaps[1] >= 0.05 - EARLY_S
    assert trace.total_s >= first_s + sum(gaps)
    # 0.02 s of audio cannot bridge the first pause; the second starts when 0.05 s have just been handed over.
    assert underrun_s(trace) == pytest.approx(gaps[0] - 0.02 + max(0.0, gaps[1] - 0.05))
    assert plays_through(trace) == (max(gaps[0] - 0.12, sum(gaps) - 0.17) <= 0)


async def test_the_request_is_what_openai_clients_send(toy: ToyServer) -> None:
    target = Target(toy.url + "/v1/", model="m", voice="v", api_key="secret", extra={"seed": 7})
    async with SpeechClient(target) as client:
        await client.speak("你好")
    assert toy.bodies == [
        {
            "model": "m",
            "voice": "v",
            "input": "你好",
            "response_format": "pcm",
            "stream": True,
            "stream_format": "audio",
            "seed": 7,
        }
    ]
    assert toy.authorizations == ["Bearer secret"]
    assert "secret" not in repr(target)
    assert "secret" not in str(target.settings())
    assert target.settings()["authenticated"] is True


async def test_a_wav_header_is_a_byte_but_no_sample(toy: ToyServer) -> None:
    shape = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    header = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + shape + b"data\xff\xff\xff\xff"
    pieces = [(0.0, header), (0.05, bytes(3200))]
    trace = await observe(toy, Script(pieces, headers={"Content-Type": "audio/wav"}), response_format="wav")
    first_s, sample_s = first_byte_s(trace), first_sample_s(trace)
    assert first_s is not None
    assert sample_s is not None
    assert sample_s - first_s >= 0.05 - EARLY_S
    assert audio_s(trace) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("stated", "given", "seconds"), [("16000", None, 0.15), ("16000", 48_000, 0.15), (None, 48_000, 0.05)]
)
async def test_the_rate_is_the_servers_word_else_ours(
    toy: ToyServer, stated: str | None, given: int | None, seconds: float
) -> None:
    headers = {"Content-Type": "audio/pcm"} | ({"X-Sample-Rate": stated} if stated else {})
    trace = await observe(toy, Script([(0.0, bytes(4800))], headers=headers), sample_rate_hz=given)
    assert audio_s(trace) == pytest.approx(seconds)


async def test_a_stream_that_breaks_is_a_failure_with_what_arrived(toy: ToyServer) -> None:
    trace = await observe(toy, Script([(0.0, silence(0.1))], breaks=True))
    assert (trace.outcome, trace.error, trace.status) == ("failed", "broken_stream", 200)
    assert audio_s(trace) == pytest.approx(0.1)


async def test_a_rejection_says_when_to_come_back(toy: ToyServer) -> None:
    trace = await observe(toy, Script(status=429, headers={"Retry-After": "2"}))
    assert (trace.outcome, trace.error, trace.retry_after) == ("rejected", "http_429", "2")
    assert trace.detail == "the queue is full"
    assert trace.arrivals == ()
    assert (await observe(toy, Script(status=429, headers={}))).outcome == "failed"


@pytest.mark.parametrize(
    ("script", "response_format", "error"),
    [
        (Script(status=500, headers={}), "pcm", "http_500"),
        (Script([]), "pcm", "no_audio"),
        (Script([(0.0, b"x")]), "pcm", "no_audio"),
        (Script([(0.0, b"{}")], headers={"Content-Type": "application/json"}), "pcm", "not_audio"),
        (Script([(0.0, b"data: x")], headers={"Content-Type": "text/event-stream"}), "pcm", "not_audio"),
        (Script([(0.0, b"no mp3 at all")]), "mp3", "undecodable"),
    ],
)
async def test_an_answer_without_audio_is_a_failure(
    toy: ToyServer, script: Script, response_format: str, error: str
) -> None:
    trace = await observe(toy, script, response_format=response_format)
    assert (trace.outcome, trace.error) == ("failed", error)


async def test_silence_on_the_line_times_out(toy: ToyServer) -> None:
    trace = await observe(toy, Script([(0.0, silence(0.1)), (0.2, b"")]), timeout_s=0.05)
    assert (trace.outcome, trace.error) == ("failed", "timeout")


async def test_a_server_that_is_not_there_is_recorded(toy: ToyServer, unused_tcp_port: int) -> None:
    async with SpeechClient(Target(f"http://127.0.0.1:{unused_tcp_port}")) as client:
        trace = (await client.speak("text")).trace(0)
    assert (trace.outcome, trace.error, trace.status) == ("failed", "connect", None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "127.0.0.1:8000"}, "http://"),
        ({"base_url": "http://x", "response_format": "midi"}, "midi"),
        ({"base_url": "http://x", "extra": {"input": "x", "voice": "y"}}, "input, voice"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Target(**settings)


@pytest.mark.slow
async def test_a_run_of_mixed_outcomes_comes_out_as_constructed(toy: ToyServer) -> None:
    toy.scripts = {
        "smooth": Script([(0.0, silence(0.5)), (0.01, silence(0.5))]),
        "starved": Script([(0.0, silence(0.05)), (0.2, silence(0.5))]),
        "full": Script(status=429, headers={"Retry-After": "1"}),
        "broken": Script([(0.0, silence(0.1))], breaks=True),
    }
    load = ClosedLoop(concurrency=4, requests=8)
    traces = await run(Target(toy.url), load, list(toy.scripts), seed=0, warmup=0)
    figures = summarise(traces)
    assert (figures.ok, figures.rejected, figures.failed) == (4, 2, 2)
    assert figures.codes == {"200": 6, "429": 2}
    assert figures.errors == figures.aborted == {"broken_stream": 2}
    assert figures.audio_s_total == pytest.approx(2 * 1.0 + 2 * 0.55)
    assert figures.bytes_total == 2 * 48_000 + 2 * 26_400
    assert figures.underrun_s is not None
    assert figures.underrun_s.max >= 0.15 - EARLY_S
    assert figures.underrun_share_of_requests == 0.5
    assert (figures.continuity_ok, figures.c100) == (2, 0.5)
    assert toy.in_flight_max == 4
    assert figures.audio_s_per_s == pytest.approx(figures.audio_s_total / figures.wall_s)
    assert figures.wall_s >= 0.2


async def test_warm_up_is_not_counted_and_texts_follow_the_seed(toy: ToyServer) -> None:
    async def said() -> list[str]:
        toy.bodies.clear()
        traces = await run(Target(toy.url), OpenLoop(100, 0.05, 1), ["a", "b", "c"], seed=5, warmup=2)
        assert len(traces) == len(toy.bodies) - 2 == len(OpenLoop(100, 0.05, 1).offsets_s())
        assert [trace.index for trace in traces] == list(range(len(traces)))
        return sorted(body["input"] for body in toy.bodies)

    assert await said() == await said()


async def test_a_server_that_cannot_speak_stops_the_run_in_the_warm_up(toy: ToyServer) -> None:
    toy.scripts["text"] = Script(status=404, headers={})
    with pytest.raises(BenchError, match="http_404"):
        await run(Target(toy.url), ClosedLoop(1, 5), ["text"], seed=0, warmup=2)
    assert len(toy.bodies) == 2


async def test_a_duration_without_arrivals_is_an_error(toy: ToyServer) -> None:
    with pytest.raises(BenchError, match="raise the rate"):
        await run(Target(toy.url), OpenLoop(1e-6, 1, 0), ["text"], seed=0, warmup=0)
