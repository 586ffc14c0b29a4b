from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.streaming.crowd_cost import CrowdCost


def learnt(alone_s: float, crowding: float, crowds: list[int], *, noise: float = 0.0) -> CrowdCost:
    numbers = random.Random(1)
    cost = CrowdCost(0.3)
    for crowd in crowds:
        unit_s = alone_s * (1 + crowding * (crowd - 1))
        cost.observe(unit_s * (1 + noise * numbers.uniform(-1, 1)), crowd)
    return cost


@pytest.mark.parametrize("crowding", [0.0, 0.3, 1.0])
def test_it_foresees_crowds_that_it_has_not_seen(crowding: float) -> None:
    cost = learnt(0.2, crowding, [1, 2, 1, 4, 2, 6] * 10, noise=0.1)
    assert cost.at(1) == pytest.approx(0.2, rel=0.2)
    assert cost.at(12) == pytest.approx(0.2 * (1 + 11 * crowding), rel=0.35, abs=0.1)


def test_as_long_as_no_crowd_was_seen_work_is_taken_to_be_shared() -> None:
    assert learnt(0.2, 0.0, [1] * 50).at(4) == pytest.approx(0.8, rel=0.05)


def test_one_alone_and_two_together_tell_whether_company_costs() -> None:
    assert learnt(0.2, 0.0, [1, 2, 2]).crowding < 0.8
    assert learnt(0.2, 0.0, [1, 2, 2, 6, 6, 6]).crowding < 0.1
    assert learnt(0.2, 1.0, [1, 2, 2]).crowding > 0.8


def test_a_stall_says_little_about_the_next_unit() -> None:
    cost = learnt(0.2, 0.2, [1, 2, 3] * 10)
    cost.observe(60.0, 1)
    assert cost.at(1) < 0.5


@given(st.lists(st.tuples(st.floats(1e-6, 100), st.floats(1, 64), st.floats(0, 1)), max_size=30))
def test_costs_are_positive_and_do_not_fall_with_the_crowd(seen: list[tuple[float, float, float]]) -> None:
    cost = CrowdCost(0.3)
    for unit_s, crowd, weight in seen:
        cost.observe(unit_s, crowd, weight)
    assert 0 <= cost.crowding <= 1
    assert 0 < cost.at(1) <= cost.at(2) <= cost.at(50)
