"""Invariants of the step engine for any mixture of jobs, arrivals and departures."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from engine_toy import AdmissionError, Count, Counting, RowError, engine_of, outputs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.engine.batch import choose_batch

MAX_ROWS = 4

COUNTS = st.builds(
    Count,
    name=st.just(""),
    steps=st.integers(1, 6),
    width=st.integers(1, MAX_ROWS),
    cost=st.integers(1, 5),
    admission_fails=st.sampled_from([False] * 7 + [True]),
    fails_at=st.sampled_from([None] * 6 + [0, 2]),
)
# job, slack, loop turns before it starts, outputs after which it leaves
CLIENTS = st.tuples(
    COUNTS, st.floats(-1, 1), st.integers(0, 20), st.sampled_from([None, None, None, 0, 1, 3])
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(clients=st.lists(CLIENTS, min_size=1, max_size=14), max_step_cost=st.integers(1, 12))
def test_everyone_gets_what_is_theirs(
    clients: list[tuple[Count, float, int, int | None]], max_step_cost: int
) -> None:
    model = Counting()
    engine = engine_of(model, max_rows=MAX_ROWS, max_step_cost=max_step_cost)
    engine.start()

    async def client(i: int, job: Count, slack_s: float, turns: int, leaves_after: int | None) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        job = replace(job, name=str(i))
        stream = engine.run(job, slack_s=slack_s)
        seen: list[str] = []
        error = None
        try:
            while leaves_after is None or len(seen) < leaves_after:
                seen.append(await anext(stream))
        except (StopAsyncIteration, AdmissionError, RowError) as ending:
            error = ending
        finally:
            await stream.aclose()
        if error is None:
            assert seen == outputs(job)[: len(seen)]
        elif isinstance(error, AdmissionError):
            assert job.admission_fails
            assert (str(error), seen) == (job.name, [])
        else:
            assert seen == outputs(job)
            assert isinstance(error, RowError) == (len(seen) < job.steps)

    async def everyone() -> None:
        await asyncio.wait_for(
            asyncio.gather(*(client(i, *each) for i, each in enumerate(clients))), timeout=10
        )

    try:
        asyncio.run(everyone())
        engine.check_health()
    finally:
        engine.stop()
    assert model.rows == []
    assert sorted(model.released) == sorted(model.admitted)
    assert model.widest <= MAX_ROWS
    assert engine.metrics().held_rows == 0
    costs = {str(i): each[0].cost for i, each in enumerate(clients)}
    for step in model.steps:
        assert len(step) == 1 or sum(costs[name] for name in step) <= max_step_cost


@given(costs=st.lists(st.integers(1, 10), min_size=1, max_size=12), limit=st.integers(1, 30))
def test_a_batch_is_the_most_urgent_that_fits(costs: list[int], limit: int) -> None:
    chosen = list(choose_batch(range(len(costs)), lambda rows: sum(costs[row] for row in rows), limit))
    assert chosen[0] == 0
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 1 or sum(costs[row] for row in chosen) <= limit
    room = limit
    for row, cost in enumerate(costs):
        if row in chosen:
            room -= cost
        else:
            assert cost > room, "it would have fitted"
