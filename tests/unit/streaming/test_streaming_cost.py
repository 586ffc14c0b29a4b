from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.streaming.cost import LARGEST_SPREAD, LEAST_SPREAD, CostMeter, LearntPace, Pace, PieceCost

SEED = PieceCost(0.4, 0.5)
AUDIO = PieceCost(0.0, 1.0)


def test_a_meter_begins_with_what_it_was_given() -> None:
    assert CostMeter(SEED).cost == SEED


@settings(deadline=None)
@given(st.floats(0.1, 0.6), st.floats(0.2, 0.7), st.integers(0, 1000))
def test_a_meter_finds_the_line_on_which_all_pieces_lie(base_s: float, unit_s: float, seed: int) -> None:
    meter, draws = CostMeter(SEED), random.Random(seed)
    for _ in range(200):
        units = draws.uniform(0.5, 8)
        meter.observe(units, base_s + unit_s * units)
    assert meter.cost.base_s == pytest.approx(base_s, abs=0.01)
    assert meter.cost.unit_s == pytest.approx(unit_s, abs=0.01)
    assert meter.cost.spread < 0.05


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 20), st.floats(0.01, 60)), max_size=60))
def test_no_cost_is_ever_below_zero(seen: list[tuple[float, float]]) -> None:
    meter = CostMeter(SEED)
    for units, seconds in seen:
        meter.observe(units, seconds)
        cost = meter.cost
        assert cost.base_s >= -1e-9
        assert cost.unit_s >= 0
        assert LEAST_SPREAD <= cost.spread <= LARGEST_SPREAD
        assert cost.at_most_s(3.0) > cost.seconds(3.0) > 0


def test_pieces_of_one_length_change_the_height_of_the_line_there() -> None:
    meter = CostMeter(SEED)
    for _ in range(400):
        meter.observe(2.0, 5.0)
    assert meter.cost.seconds(2.0) == pytest.approx(5.0, rel=0.01)


@pytest.mark.parametrize(("units", "seconds"), [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_what_cannot_be_is_not_learnt_from(units: float, seconds: float) -> None:
    meter = CostMeter(SEED)
    meter.observe(units, seconds)
    assert meter.cost == SEED


def test_the_spread_tells_how_much_noise_there_is() -> None:
    spreads = []
    for noise in (0.0, 0.04, 0.15):
        meter, draws = CostMeter(SEED), random.Random(1)
        for _ in range(300):
            units = draws.uniform(0.5, 8)
            meter.observe(units, SEED.seconds(units) * max(0.3, draws.gauss(1, noise)))
        spreads.append(meter.cost.spread)
    assert spreads == sorted(spreads)
    assert spreads[0] == LEAST_SPREAD
    assert spreads[2] > 0.07


def test_two_side_by_side_count_half_each_where_that_gains() -> None:
    alone = Pace(PieceCost(0.3, 0.5), AUDIO)
    assert alone.work_per_audio == pytest.approx(1.8 / 3)
    pairs = Pace(PieceCost(0.3, 0.5), AUDIO, PieceCost(0.45, 0.75))
    assert pairs.work_per_audio == pytest.approx(0.75 * 1.8 / 3)
    slow = Pace(PieceCost(0.3, 0.5), AUDIO, PieceCost(0.7, 1.2))
    assert slow.work_per_audio == alone.work_per_audio


def test_the_work_of_a_turn_is_that_of_its_kind() -> None:
    pace = Pace(SEED, AUDIO, PieceCost(0.6, 0.8))
    assert pace.of_turn(alone=True).work == SEED
    assert pace.of_turn(alone=False).work == pace.pairs
    assert Pace(SEED, AUDIO).of_turn(alone=False).work == SEED


def test_recent_short_pieces_raise_what_a_second_of_audio_takes() -> None:
    learnt = LearntPace(Pace(PieceCost(0.4, 0.5), AUDIO))
    usual = learnt.pace.work_per_audio
    for _ in range(60):
        learnt.observe(0.8, 0.8, 0.8, alone=True)
    assert learnt.pieces == 60
    assert learnt.pace.work_per_audio == pytest.approx(1.0, abs=0.05)
    assert learnt.pace.work_per_audio > usual


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_each_kind_of_turn_is_learnt_on_its_own(seed: int) -> None:
    draws = random.Random(seed)
    learnt = LearntPace(Pace(SEED, AUDIO, PieceCost(0.6, 0.8)))
    for units in (draws.uniform(0.5, 8) for _ in range(100)):
        learnt.observe(units, 2 * (0.6 + 0.8 * units), 1.2 * units, alone=False)
    assert learnt.pace.work == SEED
    assert learnt.expected(3.0, alone=False)[0] == pytest.approx(2 * (0.6 + 0.8 * 3), rel=0.15)
    assert learnt.expected(3.0)[1] == pytest.approx(3.6, rel=0.1)
