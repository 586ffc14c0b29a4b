from __future__ import annotations

import random
import statistics
from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.bench.metrics import (
    Arrival,
    Distribution,
    Trace,
    audio_s,
    first_byte_s,
    first_sample_s,
    gaps_s,
    plays_through,
    rtf,
    summarise,
    underrun_s,
)


def traced(*arrivals: tuple[float, float], sent_s: float = 0.0, index: int = 0) -> Trace:
    """A complete answer from pairs of arrival time and seconds of audio."""
    return Trace(
        index=index,
        text_chars=10,
        sent_s=sent_s,
        late_s=0.0,
        total_s=arrivals[-1][0] if arrivals else 0.0,
        status=200,
        error=None,
        detail=None,
        retry_after=None,
        arrivals=tuple(Arrival(at_s, round(seconds * 48_000), seconds) for at_s, seconds in arrivals),
    )


# Multiples of 1/1024 s add without rounding, so that "zero" and "equal" are exact.
ticks = st.integers(0, 4096).map(lambda tick: tick / 1024)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    steps = draw(st.lists(st.tuples(ticks, ticks), min_size=1, max_size=12))
    times = accumulate(step for step, _ in steps)
    return traced(*zip(times, (seconds for _, seconds in steps), strict=True))


def worst_delay_s(trace: Trace, buffer_s: float) -> float:
    """The player's silence in closed form: how much later it must have started never to wait."""
    audible = [arrival for arrival in trace.arrivals if arrival.audio_s > 0]
    before_s = accumulate((arrival.audio_s for arrival in audible), initial=0.0)
    return max(
        (
            arrival.at_s - (audible[0].at_s + buffer_s + played_s)
            for arrival, played_s in zip(audible, before_s, strict=False)
        ),
        default=0.0,
    )


@given(traces(), ticks)
def test_underrun_is_zero_iff_every_piece_comes_before_the_player_needs_it(
    trace: Trace, buffer_s: float
) -> None:
    assert (underrun_s(trace, buffer_s) == 0) == (worst_delay_s(trace, buffer_s) <= 0)


@given(traces(), ticks)
def test_underrun_is_what_a_later_start_would_have_saved(trace: Trace, buffer_s: float) -> None:
    silence_s = underrun_s(trace, buffer_s)
    assert silence_s == max(0.0, worst_delay_s(trace, buffer_s))
    assert underrun_s(trace, buffer_s + silence_s) == 0


@given(traces(), st.floats(0, 5), st.floats(0, 5))
def test_continuity_only_gains_from_a_larger_buffer(trace: Trace, one: float, other: float) -> None:
    small_s, large_s = sorted((one, other))
    assert underrun_s(trace, small_s) >= underrun_s(trace, large_s)
    assert plays_through(trace, large_s) or not plays_through(trace, small_s)


@given(traces(), ticks)
def test_underrun_does_not_depend_on_when_the_first_audio_came(trace: Trace, later_s: float) -> None:
    moved = replace(
        trace, arrivals=tuple(replace(arrival, at_s=arrival.at_s + later_s) for arrival in trace.arrivals)
    )
    assert underrun_s(moved) == underrun_s(trace)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40))
def test_percentiles_are_ordered_and_within_the_values(values: list[float]) -> None:
    found = Distribution.of(values)
    assert found is not None
    assert min(values) <= found.p50 <= found.p95 <= found.p99 <= found.max == max(values)
    assert found.p50 == pytest.approx(statistics.median(values))
    assert found.mean == pytest.approx(statistics.fmean(values))
    shuffled = random.Random(0).sample(values, len(values))
    again = Distribution.of(shuffled)
    assert again is not None
    assert (again.p50, again.p95, again.p99) == (found.p50, found.p95, found.p99)


def test_percentiles_interpolate_and_skip_what_was_not_observed() -> None:
    found = Distribution.of([None, *range(101)])
    assert found == Distribution(count=101, mean=50.0, p50=50.0, p95=95.0, p99=99.0, max=100.0)
    assert Distribution.of([None]) is None


def test_one_stream_by_hand() -> None:
    # Header at 0.1, audio at 0.2; runs dry at 0.7 until 1.0, then at 1.25 until 1.5.
    trace = traced((0.1, 0.0), (0.2, 0.5), (1.0, 0.25), (1.5, 0.25))
    assert first_byte_s(trace) == 0.1
    assert first_sample_s(trace) == 0.2
    assert gaps_s(trace) == pytest.approx((0.1, 0.8, 0.5))
    assert audio_s(trace) == 1.0
    assert rtf(trace) == 1.5
    assert underrun_s(trace) == pytest.approx(0.55)
    assert underrun_s(trace, 0.1) == pytest.approx(0.45)
    assert not plays_through(trace)
    assert plays_through(trace, 0.56)


def test_an_empty_answer_has_no_first_audio_and_no_rtf() -> None:
    trace = traced()
    assert first_byte_s(trace) is None
    assert first_sample_s(trace) is None
    assert rtf(trace) is None
    assert underrun_s(trace) == 0


def failed(status: int | None, error: str, retry_after: str | None = None, sent_s: float = 0.0) -> Trace:
    return replace(
        traced(sent_s=sent_s), status=status, error=error, detail=f"{error} said", retry_after=retry_after
    )


def test_summary_of_a_run_with_every_outcome() -> None:
    smooth = traced((0.25, 1.0), (0.5, 1.0), sent_s=0.0)
    slightly_late = traced((0.25, 0.5), (0.8, 0.5), sent_s=1.0)
    starved = traced((0.5, 0.5), (2.0, 0.5), sent_s=2.0)
    broken = replace(traced((0.1, 3.0), sent_s=1.0), error="broken_stream", detail="peer closed")
    run = [
        smooth,
        slightly_late,
        starved,
        broken,
        failed(429, "http_429", "1"),
        failed(503, "http_503", "5"),
        failed(429, "http_429"),
        failed(None, "connect"),
    ]
    figures = summarise(run)
    assert (figures.requests, figures.ok, figures.rejected, figures.failed) == (8, 3, 2, 3)
    assert figures.codes == {"200": 4, "429": 2, "503": 1, "none": 1}
    assert figures.errors == {"broken_stream": 1, "connect": 1, "http_429": 1}
    assert figures.aborted == {"broken_stream": 1}
    assert figures.error_details["broken_stream"] == "peer closed"
    assert figures.wall_s == 4.0
    assert figures.audio_s_total == 4.0
    assert figures.audio_s_per_s == 1.0
    assert figures.requests_per_s == 0.75
    assert figures.underrun_total_s == pytest.approx(0.05 + 1.0)
    assert figures.underrun_share_of_audio == pytest.approx(1.05 / 4)
    assert figures.underrun_share_of_requests == pytest.approx(2 / 3)
    assert figures.continuity_ok == 2
    assert figures.c100 == pytest.approx(2 / 3)
    assert figures.first_audio_s is not None
    assert (figures.first_audio_s.p50, figures.first_audio_s.max) == (0.25, 0.5)
    assert figures.rtf is not None
    assert (figures.rtf.p50, figures.rtf.max) == (0.8, 2.0)
    assert figures.gap_s is not None
    assert figures.gap_s.count == 3


def test_summary_without_success_has_no_shares() -> None:
    for run in ([], [failed(429, "http_429", "1")]):
        figures = summarise(run)
        assert figures.ok == 0
        assert figures.c100 is None
        assert figures.first_audio_s is None
        assert figures.underrun_share_of_audio is None
        assert figures.requests_per_s == 0
