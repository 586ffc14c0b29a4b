from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.core.errors import Overloaded
from serve_app.admission import Admission


@dataclass
class Visitor:
    """A request that holds its place until told to leave."""

    admission: Admission
    order: list[Visitor]
    rows: int = 1
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    inside: bool = False

    async def visit(self) -> None:
        async with self.admission.slot(self.rows):
            self.inside = True
            self.order.append(self)
            try:
                await self.leave.wait()
            finally:
                self.inside = False


def admission_of(max_active: int, max_queued: int, rows: int | None = None) -> Admission:
    return Admission(
        "toy", max_active=max_active, max_queued=max_queued, retry_after_s=2.5, rows=lambda: rows
    )


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


# What happens at one moment: a visitor comes, the n-th leaves, the n-th is cancelled, or the loop runs.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["leave", "cancel"]), st.integers(0, 9)),
        st.just(("tick", 0)),
    ),
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    max_active=st.integers(1, 3),
    max_queued=st.integers(0, 3),
    rows=st.none() | st.integers(1, 6),
    steps=STEPS,
)
async def test_no_order_of_events_breaks_the_bounds(
    max_active: int, max_queued: int, rows: int | None, steps: list[tuple[str, int]]
) -> None:
    admission = admission_of(max_active, max_queued, rows)
    entered: list[Visitor] = []
    everyone: list[tuple[Visitor, asyncio.Task[None]]] = []

    def inside() -> list[Visitor]:
        return [visitor for visitor, _ in everyone if visitor.inside]

    def check_bounds() -> None:
        assert len(inside()) <= admission.active <= max_active
        assert admission.queued <= max_queued
        # One request may take more rows than there are, but only alone.
        assert rows is None or len(inside()) < 2 or sum(visitor.rows for visitor in inside()) <= rows

    def check_that_no_place_is_left_free() -> None:
        if admission.queued:
            waiting = next(v for v, task in everyone if v not in entered and not task.done())
            held = sum(visitor.rows for visitor in inside())
            assert len(inside()) == max_active or (rows is not None and held + waiting.rows > rows)

    for action, number in steps:
        if action == "come":
            visitor = Visitor(admission, entered, number)
            everyone.append((visitor, asyncio.create_task(visitor.visit())))
        elif action == "tick":
            await settle()
            check_that_no_place_is_left_free()
        elif everyone:
            visitor, task = everyone[number % len(everyone)]
            if action == "cancel":
                task.cancel()
            else:
                visitor.leave.set()
        check_bounds()
    await settle()
    check_that_no_place_is_left_free()
    for visitor, _ in everyone:
        visitor.leave.set()
    results = await asyncio.wait_for(
        asyncio.gather(*(task for _, task in everyone), return_exceptions=True), 2
    )
    assert {type(result) for result in results} <= {type(None), Overloaded, asyncio.CancelledError}
    assert (admission.active, admission.queued, admission._held_rows) == (0, 0, 0)


async def test_a_wide_request_waits_for_rows_and_a_narrow_one_does_not_pass_it() -> None:
    admission = admission_of(10, 10, rows=4)
    entered: list[Visitor] = []
    visitors = [Visitor(admission, entered, rows) for rows in (2, 3, 1)]
    tasks = [asyncio.create_task(visitor.visit()) for visitor in visitors]
    await settle()
    assert entered == visitors[:1]
    visitors[0].leave.set()
    await settle()
    assert entered == visitors
    for visitor in visitors:
        visitor.leave.set()
    await asyncio.gather(*tasks)


async def test_first_come_first_served() -> None:
    admission = admission_of(1, 10)
    entered: list[Visitor] = []
    visitors = [Visitor(admission, entered) for _ in range(6)]
    tasks = [asyncio.create_task(visitor.visit()) for visitor in visitors]
    await settle()
    for visitor in visitors:
        visitor.leave.set()
    await asyncio.gather(*tasks)
    assert entered == visitors


async def test_the_refusal_is_at_once_and_says_when_to_come_back() -> None:
    admission = admission_of(1, 0)
    async with admission.slot():
        with pytest.raises(Overloaded, match="model 'toy' is full: 1 requests run and 0 wait") as caught:
            async with admission.slot():
                pass
    assert caught.value.retry_after_s == 2.5
    assert admission.active == 0


async def test_a_cancelled_turn_that_is_passed_over_in_the_same_tick() -> None:
    admission = admission_of(1, 2)
    entered: list[Visitor] = []
    first, second = Visitor(admission, entered), Visitor(admission, entered)
    tasks = [asyncio.create_task(visitor.visit()) for visitor in (first, second)]
    await settle()
    first.leave.set()
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert admission.active == 0


async def test_an_error_inside_frees_the_place() -> None:
    admission = admission_of(1, 0)
    with pytest.raises(RuntimeError):
        async with admission.slot():
            raise RuntimeError
    async with admission.slot():
        assert admission.active == 1
