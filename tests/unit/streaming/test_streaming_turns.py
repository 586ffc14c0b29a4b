from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.streaming.turns import LONGEST_WAIT_S, Begun, Newcomer, may_begin, next_turn, wait_s

SECONDS = st.floats(0, 30)
BEGUN = st.builds(Begun, dry_s=SECONDS, rest_s=SECONDS, under_way_s=st.floats(0, 4))
NEWCOMERS = st.builds(Newcomer, work_s=st.floats(0.1, 4), audio_s=st.floats(0.1, 6), rest_s=st.floats(0, 30))
WORK_PER_AUDIO = st.floats(0.2, 1.1)
SHORT = Newcomer(work_s=0.5, audio_s=1.0, rest_s=0.0)


def least_slack_s(newcomer: Newcomer, begun: list[Begun], work_per_audio: float) -> float:
    """How early, at worst, is what each listener needs, when the newcomer's piece is made first and then in small steps
    whatever is needed first; audio comes two seconds before it is heard, as pieces must."""
    step_s, at_s = 0.05, newcomer.work_s + sum(stream.under_way_s for stream in begun)
    streams = [*begun, Begun(newcomer.work_s + newcomer.audio_s, newcomer.rest_s)]
    least_s = 1e9
    while needy := [index for index, stream in enumerate(streams) if stream.rest_s > 0]:
        index = min(needy, key=lambda each: streams[each].dry_s)
        stream = streams[index]
        least_s = min(least_s, stream.dry_s - at_s)
        made_s = min(stream.rest_s, step_s / work_per_audio)
        streams[index] = replace(stream, dry_s=stream.dry_s + made_s, rest_s=stream.rest_s - made_s)
        at_s += made_s * work_per_audio
    return least_s


@settings(deadline=None)
@given(NEWCOMERS, st.lists(BEGUN, min_size=1, max_size=5), WORK_PER_AUDIO)
def test_nobody_runs_dry_where_a_newcomer_may_begin(
    newcomer: Newcomer, begun: list[Begun], work_per_audio: float
) -> None:
    if any(stream.rest_s > 0 for stream in begun) and may_begin(0.0, newcomer, begun, work_per_audio):
        assert least_slack_s(newcomer, begun, work_per_audio) >= -0.1


@settings(deadline=None)
@given(NEWCOMERS, st.lists(BEGUN, max_size=5), WORK_PER_AUDIO, st.floats(0, 5), st.integers(0, 4))
def test_who_may_begin_may_begin_with_less_to_do(
    newcomer: Newcomer, begun: list[Begun], work_per_audio: float, less_s: float, which: int
) -> None:
    if not may_begin(0.0, newcomer, begun, work_per_audio):
        return
    assert may_begin(0.0, newcomer, begun, work_per_audio * 0.9)
    lighter = replace(newcomer, rest_s=max(0.0, newcomer.rest_s - less_s))
    assert may_begin(0.0, lighter, begun, work_per_audio)
    if begun:
        gone = which % len(begun)
        assert may_begin(0.0, newcomer, begun[:gone] + begun[gone + 1 :], work_per_audio)


@settings(deadline=None)
@given(NEWCOMERS, st.lists(st.builds(Begun, SECONDS, st.just(0.0), SECONDS), max_size=4))
def test_where_nobody_needs_anything_a_newcomer_begins(newcomer: Newcomer, begun: list[Begun]) -> None:
    assert may_begin(0.0, newcomer, begun, 0.9)


@pytest.mark.parametrize(
    ("buffer_s", "may"), [(10.0, True), (1.0, False), (0.2, False)], ids=["far ahead", "near", "nearly dry"]
)
def test_a_newcomer_begins_where_others_are_far_ahead(buffer_s: float, may: bool) -> None:
    assert may_begin(100.0, SHORT, [Begun(100.0 + buffer_s, rest_s=10.0)], 0.8) is may


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(BEGUN, NEWCOMERS), max_size=6), st.lists(BEGUN, max_size=3), WORK_PER_AUDIO)
def test_the_turn_goes_to_who_has_waited_longest_or_is_needed_first(
    waiting: list[Begun | Newcomer], working: list[Begun], work_per_audio: float
) -> None:
    index = next_turn(0.0, waiting, working, work_per_audio)
    begun = [stream for stream in waiting if isinstance(stream, Begun)]
    newcomers = [stream for stream in waiting if isinstance(stream, Newcomer)]
    if index is None:
        assert not begun
    elif isinstance(chosen := waiting[index], Newcomer):
        assert chosen is newcomers[0]
        assert may_begin(0.0, chosen, [*begun, *working], work_per_audio)
    else:
        assert chosen.dry_s == min(stream.dry_s for stream in begun)
    if newcomers and not any(stream.rest_s > 0 for stream in [*begun, *working]):
        assert index is not None
        assert waiting[index] is newcomers[0]


def test_nobody_waits_where_a_newcomer_may_begin_at_once() -> None:
    assert wait_s(5.0, [SHORT], [], 0.8) == 0
    assert wait_s(5.0, [SHORT], [Begun(30.0, 4.0)], 0.8) == 0


@settings(deadline=None)
@given(NEWCOMERS, st.lists(BEGUN, max_size=4), st.floats(0.2, 0.8))
def test_a_wait_ends_when_the_others_have_ended(
    newcomer: Newcomer, begun: list[Begun], work_per_audio: float
) -> None:
    found = wait_s(0.0, [newcomer], begun, work_per_audio)
    work_s = sum(stream.rest_s * work_per_audio + stream.under_way_s for stream in begun)
    longest_step_s = 5.0
    assert 0 <= found <= work_s + longest_step_s * (len(begun) + 1)


@settings(deadline=None)
@given(st.lists(NEWCOMERS, min_size=2, max_size=4), st.lists(BEGUN, max_size=3), st.floats(0.2, 0.9))
def test_who_came_later_waits_longer(
    newcomers: list[Newcomer], begun: list[Begun], work_per_audio: float
) -> None:
    waits = [wait_s(0.0, newcomers[:count], begun, work_per_audio) for count in range(1, len(newcomers) + 1)]
    assert waits == sorted(waits)
    assert all(wait <= LONGEST_WAIT_S for wait in waits)


@pytest.mark.parametrize("under_way_s", [4.0, 8.0, 40.0])
def test_a_piece_that_is_being_made_takes_its_time_and_is_no_burden_after_that(under_way_s: float) -> None:
    last, other = Begun(60.0, 0.0, under_way_s), Begun(5.0, 20.0)
    assert under_way_s <= wait_s(0.0, [SHORT], [last, other], 0.5) <= under_way_s + 0.5 * 20.0
