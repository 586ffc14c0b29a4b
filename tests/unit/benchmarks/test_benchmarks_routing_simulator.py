"""Two models behind the router against each of them alone, in virtual time."""

from __future__ import annotations

import math

import pytest

from benchmarks.routing_simulator import FLEET, GRAND, Outcome, percentile, simulate
from serve_app.bench.arrivals import OpenLoop


def test_refusals_count_as_the_longest_wait() -> None:
    outcomes = [Outcome("a", "fastest", first_s) for first_s in (0.1, 0.2, math.inf)]
    assert percentile(outcomes, 0.5) == 0.2
    assert percentile(outcomes, 0.95) == math.inf


@pytest.mark.parametrize("seed", [1, 2])
def test_the_router_beats_each_model_under_a_mixed_load(seed: int) -> None:
    load = OpenLoop(1.2, 120, seed)
    alone = [percentile(simulate([costs], load), 0.95) for costs in FLEET]
    together = simulate(FLEET, load)
    assert percentile(together, 0.95) < min(alone)
    assert {outcome.model for outcome in together} == {
        costs.name for costs in FLEET
    }  # by the load, not by the name


def test_a_larger_budget_is_spent_on_quality() -> None:
    load = OpenLoop(0.8, 120, 3)

    def by_the_best(budget_ms: float) -> float:
        outcomes = simulate(FLEET, load, model="auto", budget_ms=budget_ms)
        return sum(outcome.model == GRAND.name for outcome in outcomes) / len(outcomes)

    shares = [by_the_best(budget_ms) for budget_ms in (200, 1500, 4000)]
    assert shares[0] < shares[1] <= shares[2]
