"""How many replicas stages want: each by its own load, and with regard for the others of its model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.scaling.crowd import Crowd
from serve_app.scaling.replicas import GROWTH, StageState, wanted_replicas

SPEAKING = Crowd(speaking=10.0)


def wanted(*stages: StageState, crowd: Crowd = SPEAKING) -> dict[str, float]:
    return wanted_replicas(stages, crowd, target_load=0.7)


def stage(
    name: str = "gpt", running: int = 1, load: float | None = 0.5, target: int | None = None
) -> StageState:
    return StageState(name, running, running if target is None else target, load)


@pytest.mark.parametrize(
    ("load", "replicas"), [(0.0, 1.0), (0.5, 1.0), (0.7, 1.0), (1.4, 2.0), (7.0, 10.0), (None, 3.0)]
)
def test_a_stage_follows_its_own_load(load: float | None, replicas: float) -> None:
    found = wanted(stage(running=3, load=load))
    assert found["gpt"] == pytest.approx(replicas)


def test_stages_of_one_model_scale_apart() -> None:
    found = wanted(stage("gpt", 2, 2.8), stage("s2mel", 2, 0.7), stage("vocoder", 1, 0.05))
    assert found["gpt"] == pytest.approx(4.0)
    assert (found["s2mel"], found["vocoder"]) == (2.0, 1.0)


def test_streams_that_wait_ask_for_more_of_the_fullest_stage_alone() -> None:
    """What waits at a Router is no load of any stage yet."""
    calm = wanted(stage("gpt", 4, 1.2), stage("s2mel", 4, 2.6))
    assert calm["s2mel"] < 4
    crowded = wanted(stage("gpt", 4, 1.2), stage("s2mel", 4, 2.6), crowd=Crowd(speaking=10, waiting=5))
    assert crowded == {"gpt": 4.0, "s2mel": pytest.approx(6.0)}


def test_a_flood_asks_for_so_much_at_a_time() -> None:
    found = wanted(stage(running=3, load=2.9), crowd=Crowd(speaking=4, waiting=400))
    assert found["gpt"] == GROWTH * 3


def test_a_moment_of_waiting_is_no_reason() -> None:
    assert wanted(stage(running=3, load=0.7), crowd=Crowd(speaking=10, waiting=0.3)) == {"gpt": 1.0}


def test_none_gives_replicas_up_while_another_of_its_model_grows() -> None:
    growing = wanted(stage("gpt", 1, 1.4), stage("s2mel", 3, 0.1))
    assert growing == {"gpt": pytest.approx(2.0), "s2mel": 3.0}
    assert wanted(stage("gpt", 2, 1.3), stage("s2mel", 3, 0.1))["s2mel"] == 1.0


def test_a_stage_does_not_take_the_room_that_a_fuller_one_needs() -> None:
    lacking = stage("s2mel", running=1, load=3.0, target=4)
    found = wanted(stage("gpt", 2, 2.8), lacking)
    assert found["gpt"] == 2.0
    assert found["s2mel"] > 4
    # Once that one has what it needs, or is the emptier one, nothing holds it back.
    assert wanted(stage("gpt", 2, 2.8), stage("s2mel", 4, 3.0))["gpt"] == pytest.approx(4.0)
    assert wanted(stage("gpt", 2, 8.0), lacking)["gpt"] > 10


def test_a_model_sleeps_and_wakes_as_a_whole() -> None:
    nobody = Crowd()
    assert wanted(stage("gpt", 2, 0.0), stage("s2mel", 1, 0.001), crowd=nobody) == {"gpt": 0.0, "s2mel": 0.0}
    assert wanted(stage("gpt", 2, None), stage("s2mel", 1, 0.0), crowd=nobody)["gpt"] == 0.0
    at_work = wanted(stage("gpt", 1, 0.0), stage("s2mel", 1, 0.4), crowd=nobody)
    assert at_work == {"gpt": 1.0, "s2mel": 1.0}
    woken = wanted(stage("gpt", 0, None), stage("s2mel", 0, None), crowd=Crowd(waiting=1.0))
    assert min(woken.values()) >= 1.0


@given(
    st.lists(
        st.builds(
            StageState,
            st.uuids().map(str),
            st.integers(0, 50),
            st.integers(0, 50),
            st.none() | st.floats(0, 1000),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda each: each.name,
    ),
    st.builds(Crowd, st.floats(0, 1e4), st.floats(0, 1e4)),
    st.floats(0.05, 1.0),
)
def test_every_stage_gets_an_answer_that_makes_sense(
    stages: list[StageState], crowd: Crowd, target_load: float
) -> None:
    found = wanted_replicas(stages, crowd, target_load)
    assert found.keys() == {each.name for each in stages}
    asleep = set(found.values()) == {0.0}
    assert asleep or min(found.values()) >= min(1, *(each.target for each in stages))
    for each in stages:
        most = max((each.load or 0.0) / target_load, GROWTH * max(1, each.running), each.target, 1)
        assert found[each.name] <= most + 1e-6
