"""A model is avoided from its first failure until it answers; time is what the test says it is."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from serve_app.routing.circuit import Circuit, State

FIRST_S, LONGEST_S = 1.0, 10.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def circuit() -> tuple[Circuit, Clock]:
    clock = Clock()
    return Circuit(clock, first_interval_s=FIRST_S, longest_interval_s=LONGEST_S), clock


def test_the_first_failure_opens_it_and_an_answer_closes_it() -> None:
    one, clock = circuit()
    assert (one.lets_in, one.probe_in_s) == (True, None)
    one.failed()
    assert (one.state, one.lets_in, one.probe_in_s) == (State.OPEN, False, FIRST_S)
    clock.now_s += 0.4
    one.failed()  # of a request that began before: no news
    assert one.probe_in_s == pytest.approx(FIRST_S - 0.4)
    clock.now_s += 5
    assert one.probe_in_s == 0
    one.probe_answered()
    assert (one.state, one.lets_in, one.probe_in_s) == (State.HALF_OPEN, True, None)
    one.answered()
    assert (one.state, one.lets_in) == (State.CLOSED, True)


def test_silence_makes_the_next_probe_later_up_to_a_limit() -> None:
    one, _ = circuit()
    one.failed()
    intervals = []
    for _ in range(6):
        intervals.append(one.probe_in_s)
        one.probe_failed()
    assert intervals == [1, 2, 4, 8, 10, 10]
    one.answered()
    one.failed()
    assert one.probe_in_s == FIRST_S  # what was is forgotten


def test_one_request_at_a_time_tries_a_model_that_answered_a_probe() -> None:
    one, _ = circuit()
    one.failed()
    one.probe_answered()
    assert one.begin_trial()
    assert not one.lets_in
    assert not one.begin_trial()
    one.end_trial()  # its client has left: no verdict
    assert one.lets_in
    assert one.begin_trial()
    one.failed()
    assert (one.state, one.probe_in_s) == (State.OPEN, 2 * FIRST_S)
    one.end_trial()
    assert one.state is State.OPEN


def test_who_answers_probes_and_fails_requests_is_tried_ever_more_rarely() -> None:
    one, clock = circuit()
    one.failed()
    intervals = []
    for _ in range(5):
        intervals.append(wait_s := one.probe_in_s)
        assert wait_s
        clock.now_s += wait_s
        one.probe_answered()
        assert one.begin_trial()
        one.failed()
    assert intervals == [1, 2, 4, 8, 10]


def test_a_failed_probe_of_a_model_that_nobody_asked_opens_it_too() -> None:
    one, _ = circuit()
    one.probe_failed()
    assert (one.state, one.probe_in_s) == (State.OPEN, FIRST_S)


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, it is never stuck and never lets two requests try at once."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.clock = circuit()

    @rule(
        event=st.sampled_from(
            ["failed", "probe_failed", "probe_answered", "begin_trial", "end_trial", "answered"]
        )
    )
    def happens(self, event: str) -> None:
        let_in, state = self.one.lets_in, self.one.state
        given = getattr(self.one, event)()
        if event == "begin_trial":
            assert given == (let_in and state is State.HALF_OPEN)
        if event == "answered":
            assert self.one.state is State.CLOSED
        if event in ("failed", "probe_failed"):
            assert not self.one.lets_in

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @invariant()
    def a_probe_is_wanted_just_while_it_is_open(self) -> None:
        assert (self.one.probe_in_s is not None) == (self.one.state is State.OPEN)
        assert (self.one.probe_in_s or 0) <= LONGEST_S
        assert not (self.one.state is State.OPEN and self.one.lets_in)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
