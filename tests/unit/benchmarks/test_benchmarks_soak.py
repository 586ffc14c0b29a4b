"""What the soak says of lost requests and of memory."""

from __future__ import annotations

import pytest

from benchmarks.faults.load import Outcome
from benchmarks.soak import Kill, Memory, broken_with_the_proxy

KILLS = [Kill("Router", 5.0), Kill("haproxy", 10.0)]


@pytest.mark.parametrize(
    ("outcome", "broken"),
    [
        (Outcome("lost", 9.0, 10.1), True),
        (Outcome("lost", 10.2, 10.3), False),  # asked after the death
        (Outcome("lost", 9.0, 14.0), False),  # long after it
        (Outcome("lost", 4.0, 5.1), False),  # a Router's death is no excuse
        (Outcome("cut", 9.0, 10.1), False),
    ],
)
def test_only_a_dead_front_proxy_breaks_a_request(outcome: Outcome, broken: bool) -> None:
    assert broken_with_the_proxy(outcome, KILLS) is broken


def test_growth_is_of_processes_that_lived_through_it_and_else_of_their_kind() -> None:
    memory = Memory()
    memory.seen["controller", 1] = [(0.0, 50.0), (100.0, 100.0), (125.0, 100.0), (1000.0, 104.0)]
    memory.seen["router", 2] = [(100.0, 80.0), (120.0, 84.0)]
    memory.seen["router", 3] = [(990.0, 82.0)]
    memory.seen["ingress", 4] = [(500.0, 70.0)]
    found = memory.growth(100.0, 1000.0)
    assert found == {
        "controller 1": {"first_mb": 100.0, "last_mb": 104.0, "percent": 4.0},
        "router (replaced)": {"first_mb": 82.0, "last_mb": 82.0, "percent": 0.0},
    }
