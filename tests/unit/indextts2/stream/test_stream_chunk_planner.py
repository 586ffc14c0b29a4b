"""The planner's rules, and what they amount to over a whole segment in the simulator."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.indextts2.stream.chunk_planner import ChunkParameters, ChunkPlanner, Progress
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.indextts2.traits import TWO_AND_A_HALF

FRAMES_PER_CODE = Fraction(43, 25)
GEOMETRY = Geometry(38, 256, 22_050, FRAMES_PER_CODE)
SLOW_CODES = Geometry(38, 256, 22_050, TWO_AND_A_HALF.frames_per_code, TWO_AND_A_HALF.edge_codes)
FAST = StageSpeeds(start_codes_per_s=250, start_s2mel_s=1.5e-6, vocoder_s_per_frame=6e-5)

parameters = st.builds(
    ChunkParameters,
    first_codes=st.integers(1, 60),
    growth=st.floats(1, 4),
    max_codes=st.integers(1, 300),
    lookahead_codes=st.integers(0, 20),
    margin_s=st.floats(0, 0.5),
)
speeds = st.builds(
    StageSpeeds,
    start_codes_per_s=st.floats(10, 1000),
    start_s2mel_s=st.floats(1e-7, 1e-4),
    vocoder_s_per_frame=st.floats(1e-6, 1e-3),
)
planners = st.builds(
    ChunkPlanner,
    parameters,
    st.builds(Geometry, st.integers(0, 40), st.just(256), st.just(22_050), st.just(FRAMES_PER_CODE)),
    speeds,
    st.integers(50, 1300),
    st.integers(1, 50),
)


@st.composite
def moments(draw: st.DrawFn) -> Progress:
    """Anything a segment may be in when its next chunk is planned."""
    chunk = draw(st.integers(0, 8))
    committed = draw(st.integers(1, 400)) if chunk else 0
    return Progress(
        segment=draw(st.integers(0, 5)),
        chunk=chunk,
        committed=committed,
        last_size=draw(st.integers(1, committed)) if chunk else 0,
        available=committed + draw(st.integers(1, 400)),
        finished=draw(st.booleans()),
        slack_s=draw(st.one_of(st.none(), st.floats(-5, 20))),
    )


def planner(speeds: StageSpeeds = FAST, **changes: float) -> ChunkPlanner:
    return ChunkPlanner(ChunkParameters(**changes), GEOMETRY, speeds, 430, 24)  # type: ignore[arg-type]


@given(planners, moments())
def test_every_chunk_commits_something_and_the_last_one_everything(plan: ChunkPlanner, now: Progress) -> None:
    chunk = plan.plan(now)
    assert chunk.commit > now.committed
    if chunk.final:
        assert now.finished
        assert chunk.commit == chunk.needs == now.available
    else:
        assert chunk.needs == chunk.commit + plan.parameters.lookahead_codes
        assert not (now.finished and chunk.needs >= now.available)


@pytest.mark.slow
@given(planners, moments(), st.floats(0, 10))
def test_more_slack_never_makes_a_chunk_smaller(plan: ChunkPlanner, now: Progress, more_s: float) -> None:
    now = replace(now, slack_s=now.slack_s or 0.0)
    later = replace(now, slack_s=(now.slack_s or 0.0) + more_s)
    assert plan.plan(later).commit >= plan.plan(now).commit


@pytest.mark.slow
@given(planners, moments())
def test_the_deadline_is_kept_where_the_stages_allow_it(plan: ChunkPlanner, now: Progress) -> None:
    """Unless even the least chunk that makes sense would come too late, the one planned comes in time."""
    if now.slack_s is None or now.segment == now.chunk == 0:
        return
    budget_s = now.slack_s - plan.parameters.margin_s
    least = plan.plan(replace(now, slack_s=-1e9)).commit - now.committed
    planned = plan.plan(now).commit - now.committed
    assert planned >= least
    if plan.ready_s(now, least) <= budget_s:
        assert plan.ready_s(now, planned) <= budget_s
    else:
        assert planned == least


@given(planners, moments(), speeds, st.integers(0, 300), st.booleans())
def test_without_a_deadline_neither_speeds_nor_arrivals_matter(
    plan: ChunkPlanner, now: Progress, others: StageSpeeds, more: int, finished: bool
) -> None:
    now = replace(now, slack_s=None)
    other = replace(now, available=now.available + more, finished=finished)
    here, there = plan.plan(now), replace(plan, speeds=others).plan(other)
    if not here.final and not there.final:
        assert here == there


@given(planners, moments())
def test_growth_and_size_are_limited(plan: ChunkPlanner, now: Progress) -> None:
    chunk = plan.plan(now)
    halo = plan.geometry.codes_for(plan.geometry.halo_frames)
    most = max(plan.parameters.max_codes, plan.parameters.first_codes + halo)
    # What is left when everything has arrived includes the look-ahead, whatever its size.
    assert chunk.commit - now.committed <= most + plan.parameters.lookahead_codes


def test_the_first_chunk_is_heard_whatever_the_halo() -> None:
    for halo in range(41):
        geometry = Geometry(halo, 256, 22_050, FRAMES_PER_CODE)
        plan = ChunkPlanner(ChunkParameters(first_codes=1), geometry, FAST, 430, 24)
        for slack_s in (None, 0.0):
            chunk = plan.plan(Progress(0, 0, 0, 0, 1, False, slack_s))
            assert geometry.audible_frames(chunk.commit) > 0


def test_where_gaps_are_certain_patience_bounds_the_wait() -> None:
    """Codes that come slower than they are spoken: no first chunk lasts, the larger ones make fewer gaps."""
    overloaded = StageSpeeds(start_codes_per_s=20, start_s2mel_s=2e-5)
    now = Progress(0, 0, 0, 0, 1, False, 0.0)
    smallest = 12 + GEOMETRY.codes_for(38)
    for patience_s, least in ((0.0, smallest), (1.0, smallest), (3.0, smallest + 5), (6.0, smallest + 50)):
        plan = replace(planner(overloaded), parameters=ChunkParameters(patience_s=patience_s))
        opening = plan.plan(now).commit
        assert opening >= least
        assert opening == smallest or plan.ready_s(now, opening) <= patience_s


def test_who_need_not_wait_does_not() -> None:
    now = Progress(0, 0, 0, 0, 1, False, 0.0)
    patient = replace(planner(), parameters=ChunkParameters(patience_s=60.0))
    assert patient.plan(now).commit == planner().plan(now).commit < 60


def test_late_chunks_are_large_enough_to_catch_up() -> None:
    """S2Mel takes 0.4 s for a chunk of any size: chunks that play for less would never catch up."""
    heavy = StageSpeeds(start_codes_per_s=400, start_s2mel_s=4e-5)
    chunk = planner(heavy).plan(Progress(0, 1, 60, 60, 400, False, -1.0))
    assert 1.25 * 0.4 < GEOMETRY.code_s * (chunk.commit - 60) < 4 * 0.4


def test_a_rest_is_shared_out_evenly() -> None:
    now = Progress(0, 2, 100, 50, 100 + 250, True, 60.0)
    first = planner().plan(now)
    assert first.commit - 100 == 125
    assert planner().plan(replace(now, chunk=3, committed=first.commit)).final


def test_later_segments_take_what_their_slack_allows() -> None:
    now = Progress(1, 0, 0, 0, 10, False, 30.0)
    assert planner().plan(now).commit == 240
    assert planner().plan(replace(now, slack_s=0.0)).commit == 12 + GEOMETRY.codes_for(38)


def test_frames_equal_the_published_float32_arithmetic() -> None:
    for codes in range(1, 1816):
        assert GEOMETRY.frames(codes) == int(np.float32(codes) * np.float32(1.72))
    for frames in range(1, 500):
        codes = GEOMETRY.codes_for(frames)
        assert GEOMETRY.frames(codes) >= frames > GEOMETRY.frames(codes - 1)


@given(st.floats(0.5, 2.0), st.integers(0, 3000))
def test_stretched_frames_and_their_codes(factor: float, codes: int) -> None:
    geometry = SLOW_CODES.stretched(factor)
    frames = geometry.frames(codes)
    assert frames == int(2 * codes * 1.72 * factor), "products from left to right"
    least = geometry.codes_for(frames)
    assert geometry.frames(least) >= frames
    assert least == 0 or geometry.frames(least - 1) < frames
    assert geometry.seconds(frames) == pytest.approx(codes * geometry.code_s, abs=256 / 22_050)


def test_sizes_that_are_left_open_are_as_long_with_codes_of_any_length() -> None:
    def sizes(geometry: Geometry) -> tuple[int, int, int]:
        found = ChunkPlanner(ChunkParameters(), geometry, FAST, 430, 24).sizes
        return found.first, found.largest, found.lookahead

    assert sizes(GEOMETRY) == (12, 240, 6)
    assert sizes(GEOMETRY.stretched(2.0)) == (6, 120, 3)
    assert sizes(SLOW_CODES) == (6, 120, 4), "the codec needs more look-ahead"
    assert sizes(SLOW_CODES.stretched(0.5)) == (12, 240, 6)
    given = ChunkParameters(first_codes=7, max_codes=50, lookahead_codes=0)
    found = ChunkPlanner(given, SLOW_CODES, FAST, 430, 24).sizes
    assert (found.first, found.largest, found.lookahead) == (7, 50, 0)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_scheduled_chunks_of_slow_codes_end_where_one_pass_ends(factor: float) -> None:
    geometry = SLOW_CODES.stretched(factor)
    plan = ChunkPlanner(ChunkParameters(), geometry, FAST, 430, 24)
    committed = chunk = size = audible = 0
    while True:
        planned = plan.plan(Progress(0, chunk, committed, size, 137, True, None))
        if not planned.final:
            assert geometry.audible_frames(planned.commit) > audible
            audible = geometry.audible_frames(planned.commit)
        chunk, size, committed = chunk + 1, planned.commit - committed, planned.commit
        if planned.final:
            break
    assert chunk > 1
    assert geometry.frames(committed) == int(2 * 137 * 1.72 * factor)


def test_speeds_follow_what_is_observed() -> None:
    speeds = StageSpeeds()
    for _ in range(60):
        speeds.observe_codes(5, 0.1)
        speeds.observe_s2mel(500, 20, 0.2 + speeds.hop_s, 1)
        speeds.observe_vocoder(100, 0.05 + speeds.hop_s)
        speeds.observe_text(10, 3.0)
    assert speeds.codes_per_s == pytest.approx(50, rel=1e-3)
    assert speeds.s2mel_s(500, 20) == pytest.approx(0.2 + speeds.hop_s, rel=1e-3)
    assert speeds.vocoder_s(100) == pytest.approx(0.05 + speeds.hop_s, rel=1e-3)
    assert speeds.audio_s_per_token == pytest.approx(0.3, rel=1e-3)
    speeds.observe_codes(0, 1.0)
    speeds.observe_codes(5, 0.0)
    assert speeds.codes_per_s == pytest.approx(50, rel=1e-3)


@pytest.mark.parametrize("preset", ["h200", "a100-trt", "cpu-nano"])
@pytest.mark.parametrize("codes", [20, 60, 250, 900])
def test_no_listener_of_a_preset_runs_dry(simulator: ModuleType, preset: str, codes: int) -> None:
    timeline = simulator.simulate(simulator.PRESETS[preset], ChunkParameters(), codes)
    assert timeline.underrun_s == 0
    sizes = [event.codes for event in timeline.events]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == codes
    assert sum(event.audio_s for event in timeline.events) == pytest.approx(
        GEOMETRY.seconds(GEOMETRY.frames(codes))
    )
    assert timeline.first_audio_s <= timeline.one_pass_s * 1.01


@settings(max_examples=60, deadline=None)
@given(
    codes_per_s=st.floats(110, 1000),
    s2mel_us=st.floats(0.1, 4),
    vocoder_us=st.floats(1, 200),
    codes=st.integers(1, 700),
    halo=st.integers(0, 40),
)
def test_stages_with_power_to_spare_never_let_the_listener_run_dry(
    simulator: ModuleType, codes_per_s: float, s2mel_us: float, vocoder_us: float, codes: int, halo: int
) -> None:
    """Twice as fast as speech or better, and chunks that cost less than half of what the least of them plays."""
    costs = simulator.Costs(codes_per_s, s2mel_us, vocoder_us, 12, prompt_frames=300, halo_frames=halo)
    timeline = simulator.simulate(costs, ChunkParameters(), codes)
    assert timeline.underrun_s == 0


def test_load_changes_the_plan_but_not_that_of_a_seeded_request(simulator: ModuleType) -> None:
    costs = simulator.PRESETS["a100-trt"]

    def borders(load: float, seeded: bool) -> list[int]:
        timeline = simulator.simulate(costs.under(load), ChunkParameters(), 400, seeded=seeded)
        return [event.codes for event in timeline.events]

    assert len({tuple(borders(load, True)) for load in (0.5, 1, 3, 10)}) == 1
    assert len({tuple(borders(load, False)) for load in (0.5, 1, 3, 10)}) > 1
    assert all(later > earlier for earlier, later in itertools.pairwise(borders(1, True)))


def test_the_simulator_prints_a_timeline(simulator: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    simulator.main(["--preset", "cpu-nano", "--codes", "100", "--codes-per-s", "200", "--first-codes", "5"])
    printed = capsys.readouterr().out
    assert "first audio" in printed
    assert "x one pass" in printed
    simulator.main(["--json", "--seeded"])
    assert '"first_audio_s"' in capsys.readouterr().out


@pytest.mark.parametrize(("crowding", "growth"), [(0.0, 1.0), (0.5, 2.5), (1.0, 4.0)])
def test_a_crowd_and_its_end_are_foreseen(crowding: float, growth: float) -> None:
    """What four segments cost is known as soon as they are there, from what one and two have cost."""
    speeds = StageSpeeds()
    for turn in range(40):
        segments = 1 + turn % 2
        speeds.observe_s2mel(100, 10, 0.1 * (1 + crowding * (segments - 1)) + speeds.hop_s, segments)
    assert speeds.s2mel_s(100, 10) == pytest.approx(0.1 + speeds.hop_s, rel=0.05)
    with speeds.segment(), speeds.segment(), speeds.segment(), speeds.segment():
        assert speeds.s2mel_s(100, 10) == pytest.approx(0.1 * growth + speeds.hop_s, rel=0.15)
    assert speeds.segments == 0
