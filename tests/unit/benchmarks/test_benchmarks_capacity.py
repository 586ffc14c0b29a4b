"""What is planned carries its listeners, and not many more."""

from __future__ import annotations

from benchmarks.capacity_check import check
from serve_app.capacity.costs import StageCost
from serve_app.capacity.plan import NodeShape, Share, StageDemand, plan

STAGES = (
    StageDemand("m-gpt", StageCost(rows=32, points=((1, 0.2), (32, 0.2 / 32 + 0.005))), Share(1, 0.5)),
    StageDemand("m-s2mel", StageCost(rows=4, points=((1, 0.04),)), Share(1, 1)),
    StageDemand("m-vocoder", StageCost(rows=8, points=((1, 0.008),)), Share(1, 0.2)),
)


def test_the_simulation_agrees_with_the_plan() -> None:
    planned = plan(60, STAGES, [("Router", Share(0.1, 0), 200)], NodeShape(96, 8))
    assert {each.deployment: each.replicas for each in planned.deployments} == {
        "m-gpt": 2,
        "m-s2mel": 4,
        "m-vocoder": 4,
        "Router": 1,
    }
    as_planned = check(planned, STAGES, 60, listeners=300)
    assert as_planned.whole >= 0.99
    assert as_planned.first_s_p95 < 1.0
    assert check(planned, STAGES, 120, listeners=300).whole < 0.8
