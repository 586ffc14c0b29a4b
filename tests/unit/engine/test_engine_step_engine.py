"""What the step engine promises, one promise per test."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from engine_toy import AdmissionError, Count, Counting, RowError, engine_of, outputs

from deployments.core.deadline import Deadline
from deployments.core.errors import DeadlineExceeded, Overloaded, Unavailable
from deployments.engine.step_model import Outcome

Start = Callable[..., Any]


async def collect(engine: Any, job: Count, slack_s: float = 0.0, **asked: Any) -> list[str]:
    return [output async for output in engine.run(job, slack_s=slack_s, **asked)]


async def until(condition: Callable[[], bool], limit_s: float = 3.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        await asyncio.sleep(0.001)


class Gate:
    """Holds steps until opened."""

    def __init__(self) -> None:
        self._passes = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.open = False

    def __call__(self) -> None:
        self.entered.release()
        if not self.open:
            assert self._passes.acquire(timeout=5)

    def let(self, steps: int = 1) -> None:
        self._passes.release(steps)

    def open_for_good(self) -> None:
        self.open = True
        self._passes.release(1000)


async def test_a_request_gets_its_outputs_in_order(started: Start) -> None:
    model = Counting()
    assert await collect(started(model), job := Count("a", 5)) == outputs(job)
    assert model.released == ["a"]
    assert threading.get_ident() not in model.threads
    assert len(model.threads) == 1


async def test_result_is_the_only_output(started: Start) -> None:
    assert await started(Counting()).result(Count("a")) == "a:0"


async def test_requests_share_steps_and_join_a_running_batch(started: Start) -> None:
    model, gate = Counting(), Gate()
    model.on_step = gate
    engine = started(model)
    first = asyncio.create_task(collect(engine, Count("a", 3)))
    await until(lambda: len(model.steps) == 1)
    second = asyncio.create_task(collect(engine, Count("b", 3)))
    await until(lambda: engine.metrics().waiting_jobs == 1)
    gate.open_for_good()
    assert await first == outputs(Count("a", 3))
    assert await second == outputs(Count("b", 3))
    assert model.steps == [["a"], ["a", "b"], ["a", "b"], ["b"]]


async def test_the_row_is_free_when_the_caller_sees_the_end(started: Start) -> None:
    engine = started(Counting(), max_rows=1, max_waiting=0)
    for i in range(200):
        await collect(engine, Count(str(i)))  # the next one would be refused if the row were still held


async def test_waiting_requests_start_by_deadline(started: Start) -> None:
    model, gate = Counting(), Gate()
    model.on_step = gate
    engine = started(model, max_rows=1)
    tasks = [asyncio.create_task(collect(engine, Count("running")))]
    await until(lambda: len(model.steps) == 1)
    for name, slack_s in (("late", 2.0), ("soon", 1.0), ("overdue", -1.0), ("late too", 2.0)):
        tasks.append(asyncio.create_task(collect(engine, Count(name), slack_s)))
        await asyncio.sleep(0)
    gate.open_for_good()
    await asyncio.gather(*tasks)
    assert model.admitted == ["running", "overdue", "soon", "late", "late too"]


async def test_a_step_takes_the_most_urgent_rows_that_fit(started: Start) -> None:
    model, gate = Counting(), Gate()
    model.on_step = gate
    engine = started(model, max_rows=8, max_step_cost=4)
    jobs = [(Count("huge", cost=9), 5.0), (Count("big", cost=3), 1.0), (Count("mid", cost=2), 2.0)]
    jobs += [(Count("small", cost=1), 3.0)]
    tasks = [asyncio.create_task(collect(engine, Count("first")))]
    await until(lambda: len(model.steps) == 1)
    tasks += [asyncio.create_task(collect(engine, job, slack_s)) for job, slack_s in jobs]
    await until(lambda: engine.metrics().waiting_jobs == 4)
    gate.open_for_good()
    await asyncio.gather(*tasks)
    assert model.steps[1:] == [["big", "small"], ["mid"], ["huge"]]


async def test_old_requests_are_not_starved_by_urgent_ones(started: Start) -> None:
    model = Counting(step_s=0.002)
    engine = started(model, max_rows=2, max_step_cost=1)
    patient = asyncio.create_task(collect(engine, Count("patient", 5), 0.05))
    flood = [asyncio.create_task(collect(engine, Count(f"f{i}", 5))) for i in range(4)]
    began = time.monotonic()
    while not patient.done():
        assert time.monotonic() - began < 3
        flood.append(asyncio.create_task(collect(engine, Count("more", 5))))
        await asyncio.sleep(0.005)
    for task in flood:
        task.cancel()


async def test_an_endless_slack_is_bounded() -> None:
    engine = engine_of(Counting())
    engine.start()
    try:
        assert await collect(engine, Count("a"), math.inf) == ["a:0"]
        with pytest.raises(ValueError, match="slack_s"):
            await collect(engine, Count("a"), math.nan)
    finally:
        engine.stop()


async def test_a_wide_request_waits_for_room_and_is_not_overtaken(started: Start) -> None:
    model, gate = Counting(), Gate()
    model.on_step = gate
    engine = started(model, max_rows=4)
    tasks = [asyncio.create_task(collect(engine, Count("two", 2, width=2)))]
    await until(lambda: len(model.steps) == 1)
    tasks.append(asyncio.create_task(collect(engine, Count("group", 2, width=3))))
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(collect(engine, Count("one", 2))))
    await until(lambda: engine.metrics().waiting_jobs == 2)
    gate.open_for_good()
    await asyncio.gather(*tasks)
    assert model.steps == [["two"], ["two"], ["group", "one"], ["group", "one"]]
    assert model.widest == 4


async def test_a_request_wider_than_the_engine_is_refused(started: Start) -> None:
    with pytest.raises(ValueError, match="takes 5 rows; 1 to 4"):
        await collect(started(Counting()), Count("a", width=5))


async def test_closing_the_generator_frees_the_row_before_the_next_step(started: Start) -> None:
    model, gate = Counting(), Gate()
    model.on_step = gate
    engine = started(model, max_rows=2)
    stays = asyncio.create_task(collect(engine, Count("stays", 4)))
    await until(lambda: len(model.steps) == 1)
    stream = engine.run(Count("leaves", 100))
    gate.let(2)
    assert await anext(stream) == "leaves:0"
    await until(lambda: len(model.steps) == 3)  # the third step runs with both
    await stream.aclose()
    gate.open_for_good()
    await stays
    assert model.steps[2:] == [["stays", "leaves"], ["stays"]]
    assert model.released == ["leaves", "stays"]


async def test_cancelling_a_waiting_request_takes_it_out_at_once(started: Start) -> None:
    model, gate = Counting(), Gate()
    model.on_step = gate
    engine = started(model, max_rows=1)
    running = asyncio.create_task(collect(engine, Count("running")))
    await until(lambda: len(model.steps) == 1)
    waiting = asyncio.create_task(collect(engine, Count("waiting")))
    await asyncio.sleep(0)
    assert engine.metrics().waiting_jobs == 1
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert engine.metrics().waiting_jobs == 0
    gate.open_for_good()
    await running
    assert model.admitted == ["running"]


async def test_a_failed_admission_fails_one_request(started: Start) -> None:
    model = Counting()
    engine = started(model)
    jobs = [Count(str(i), 3, admission_fails=i == 2) for i in range(5)]
    results = await asyncio.gather(*(collect(engine, job) for job in jobs), return_exceptions=True)
    assert isinstance(results.pop(2), AdmissionError)
    assert results == [outputs(job) for job in jobs if not job.admission_fails]
    assert sorted(model.released) == sorted(model.admitted)
    assert engine.metrics().held_rows == 0
    engine.check_health()


async def test_a_row_error_fails_one_request_after_its_outputs(started: Start) -> None:
    model = Counting()
    engine = started(model)
    good = asyncio.create_task(collect(engine, Count("good", 6)))
    bad = engine.run(Count("bad", 6, fails_at=2))
    assert [await anext(bad), await anext(bad)] == ["bad:0", "bad:1"]
    with pytest.raises(RowError, match="bad"):
        await anext(bad)
    assert await good == outputs(Count("good", 6))
    assert engine.metrics().failed == 1


async def test_a_failing_step_fails_all_and_ends_the_engine(started: Start) -> None:
    model, gate = Counting(), Gate()

    def explode() -> None:
        gate()
        raise RuntimeError("CUDA error")

    model.on_step = explode
    engine = started(model, max_rows=2)
    tasks = [asyncio.create_task(collect(engine, Count(str(i), 9))) for i in range(5)]
    await until(lambda: engine.metrics().held_jobs + engine.metrics().waiting_jobs == 5)
    gate.open_for_good()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 3)
    assert all(isinstance(each, Unavailable) and "CUDA error" in each.message for each in results)
    assert len({id(each) for each in results}) == 5
    assert model.rows == []
    with pytest.raises(Unavailable, match="toy: the engine failed"):
        engine.check_health()
    with pytest.raises(Unavailable, match="CUDA error"):
        await collect(engine, Count("later"))


@pytest.mark.parametrize("broken", ["release", "cost", "short step"])
async def test_any_breach_by_the_model_leaves_nobody_waiting(started: Start, broken: str) -> None:
    model = Counting()
    if broken == "short step":
        model.step = lambda rows: [Outcome(("x",))]  # type: ignore[method-assign]
    else:
        setattr(model, broken, lambda _: 1 / 0)
    engine = started(model)
    tasks = [asyncio.create_task(collect(engine, Count(str(i), 2))) for i in range(3)]
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 3)
    assert any(isinstance(each, Unavailable) for each in results)
    with pytest.raises(Unavailable):
        engine.check_health()


async def test_overload_is_refused_at_once(started: Start) -> None:
    model, gate = Counting(), Gate()
    model.on_step = gate
    engine = started(model, max_rows=2, max_waiting=3)
    tasks = [asyncio.create_task(collect(engine, Count(str(i)))) for i in range(9)]
    await until(lambda: sum(task.done() for task in tasks) == 4)
    refused = [task.exception() for task in tasks if task.done()]
    assert all(isinstance(error, Overloaded) and (error.retry_after_s or 0) >= 1 for error in refused)
    assert engine.metrics().refused == 4
    gate.open_for_good()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(each, list) for each in done) == 5  # everything accepted finishes


async def test_a_stream_that_has_begun_waits_where_a_new_one_is_refused(started: Start) -> None:
    model, gate = Counting(), Gate()
    model.on_step = gate
    engine = started(model, max_rows=1, max_waiting=0)
    first = asyncio.create_task(collect(engine, Count("first")))
    await until(lambda: engine.metrics().held_jobs == 1)
    later = asyncio.create_task(collect(engine, Count("later"), refusable=False))
    with pytest.raises(Overloaded):
        await collect(engine, Count("new"))
    gate.open_for_good()
    assert await asyncio.gather(first, later) == [["first:0"], ["later:0"]]


async def test_who_waits_beyond_the_deadline_is_told_and_never_admitted(started: Start) -> None:
    model, gate = Counting(), Gate()
    model.on_step = gate
    engine = started(model, max_rows=1)
    first = asyncio.create_task(collect(engine, Count("first", 2)))
    await until(lambda: engine.metrics().held_jobs == 1)
    late = asyncio.create_task(collect(engine, Count("late"), deadline=Deadline.after(0.01)))
    patient = asyncio.create_task(collect(engine, Count("patient"), deadline=Deadline.after(60)))
    await asyncio.sleep(0.05)
    gate.open_for_good()
    with pytest.raises(DeadlineExceeded, match="no turn came"):
        await late
    assert await asyncio.gather(first, patient) == [["first:0", "first:1"], ["patient:0"]]
    assert model.admitted == ["first", "patient"]
    with pytest.raises(DeadlineExceeded):
        await collect(engine, Count("too late"), deadline=Deadline.after(0))
    assert engine.metrics().waiting_rows == 0


async def test_a_step_that_does_not_return_is_found_by_the_health_check(started: Start) -> None:
    model, gate = Counting(), Gate()
    model.on_step = gate
    engine = started(model, step_timeout_s=0.05)
    engine.check_health()
    task = asyncio.create_task(collect(engine, Count("hangs")))
    await until(lambda: engine.metrics().held_jobs == 1)
    await asyncio.sleep(0.1)
    with pytest.raises(Unavailable, match="has not returned"):
        engine.check_health()
    with pytest.raises(Unavailable, match="has not returned"):  # nobody else is let in
        await collect(engine, Count("next"))
    gate.open_for_good()
    assert await task == ["hangs:0"]
    await until(lambda: engine.metrics().held_jobs == 0)
    engine.check_health()


async def test_stop_fails_what_is_left_and_ends_the_thread() -> None:
    model = Counting(step_s=0.001)
    engine = engine_of(model, max_rows=2)
    engine.start()
    tasks = [asyncio.create_task(collect(engine, Count(str(i), 10**9))) for i in range(4)]
    await until(lambda: engine.metrics().held_jobs == 2)
    await asyncio.to_thread(engine.stop)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, Unavailable) and "stopped" in each.message for each in results)
    assert not any(thread.name == "toy-steps" for thread in threading.enumerate())
    assert model.rows == []
    engine.stop()  # again is harmless


async def test_an_engine_that_was_not_started_says_so() -> None:
    engine = engine_of(Counting())
    with pytest.raises(Unavailable, match="not started"):
        await collect(engine, Count("a"))
    engine.stop()


@pytest.mark.slow
async def test_an_idle_engine_takes_no_processor_time(started: Start) -> None:
    engine = started(Counting())
    await collect(engine, Count("a", 3))
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.03
    assert engine.metrics().held_jobs == 0


async def test_stats_tell_what_happened(started: Start) -> None:
    model = Counting(step_s=0.01)
    engine = started(model)
    await asyncio.gather(*(collect(engine, Count(str(i), 3)) for i in range(3)))
    stats = engine.metrics()
    assert (stats.held_jobs, stats.waiting_jobs, stats.held_rows, stats.finished) == (0, 0, 0, 3)
    assert stats.rows_stepped == 9
    assert 3 <= stats.steps <= 9
    assert 1 <= stats.batch_rows <= 3
    assert stats.step_s >= 0.01
    assert stats.service_s >= 3 * 0.01
    assert (stats.replica, stats.rows) == ("", engine.max_rows)


async def test_two_hundred_random_disconnects_leave_nothing(started: Start) -> None:
    model = Counting(step_s=0.0002)
    engine = started(model, max_rows=8)
    before = len(asyncio.all_tasks())

    async def impatient(i: int) -> None:
        stream = engine.run(Count(str(i), 50))
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(_drain(stream, i % 7), timeout=0.002 * (i % 11))
        await stream.aclose()

    async def _drain(stream: Any, count: int) -> None:
        while count:
            await anext(stream)
            count -= 1

    await asyncio.gather(*(impatient(i) for i in range(200)))
    await until(
        lambda: engine.metrics().held_jobs + engine.metrics().waiting_jobs + engine.metrics().held_rows == 0
    )
    assert model.rows == []
    assert sorted(model.admitted) == sorted(model.released)
    assert len(asyncio.all_tasks()) == before
    assert await collect(engine, Count("after", 3)) == outputs(Count("after", 3))


def test_requests_of_several_event_loops_share_the_engine() -> None:
    model = Counting(step_s=0.0001)
    engine = engine_of(model, max_rows=6)
    engine.start()
    found: dict[str, list[str]] = {}

    def client(thread: int) -> None:
        async def many() -> None:
            jobs = [Count(f"{thread}.{i}", 1 + i % 5, width=1 + i % 3) for i in range(60)]
            for job, each in zip(
                jobs, await asyncio.gather(*(collect(engine, j) for j in jobs)), strict=True
            ):
                found[job.name] = each

        asyncio.run(many())

    threads = [threading.Thread(target=client, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    engine.stop()
    assert len(found) == 360
    for name, each in found.items():
        assert each == [f"{name}:{i}" for i in range(1 + int(name.split(".")[1]) % 5)]
    assert model.widest <= 6
    assert model.rows == []


async def test_a_closed_event_loop_frees_its_rows(started: Start) -> None:
    model = Counting(step_s=0.001)
    engine = started(model)
    loop = asyncio.new_event_loop()
    stream = engine.run(Count("abandoned", 10**9))

    def abandon() -> None:
        loop.run_until_complete(anext(stream))
        loop.close()

    await asyncio.to_thread(abandon)
    await until(lambda: engine.metrics().held_jobs == 0)
    assert model.released == ["abandoned"]
