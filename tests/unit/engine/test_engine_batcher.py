"""What the batcher promises, one promise per test."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from deployments.core.deadline import Deadline
from deployments.core.errors import DeadlineExceeded, InvalidRequest, Overloaded, Unavailable
from deployments.engine.batcher import WAITING_BATCHES, Batcher, isolate_failures


class Doubler:
    """Doubles numbers, in batches that it notes; blocks while `gate` is shut; negative numbers are at fault."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def double(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.threads.add(threading.get_ident())
        assert self.gate.wait(10)
        if any(number < 0 for number in numbers):
            raise ArithmeticError("negative")
        return [2 * number for number in numbers]

    def halve(self, numbers: Sequence[int]) -> list[float]:
        self.batches.append(list(numbers))
        return [number / 2 for number in numbers]


@pytest.fixture
def work() -> Doubler:
    return Doubler()


async def until(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        await asyncio.sleep(0.001)


def batcher_of(**options: Any) -> Batcher:
    return Batcher("toy", **{"max_batch": 3, "replica": "r"} | options)


async def test_jobs_that_come_together_are_computed_together(work: Doubler) -> None:
    batcher = batcher_of()
    assert await asyncio.gather(*(batcher.run(work.double, n) for n in range(5))) == [0, 2, 4, 6, 8]
    assert work.batches == [[0, 1, 2], [3, 4]]
    assert threading.get_ident() not in work.threads
    assert len(work.threads) == 1


async def test_a_lone_job_does_not_wait_unless_told(work: Doubler) -> None:
    assert await asyncio.wait_for(batcher_of().run(work.double, 4), 10) == 8
    patient = batcher_of(wait_s=30.0)
    first = asyncio.create_task(patient.run(work.double, 1))
    await asyncio.sleep(0.02)
    assert work.batches == [[4]]
    others = [asyncio.create_task(patient.run(work.double, n)) for n in (2, 3)]
    assert await asyncio.wait_for(asyncio.gather(first, *others), 10) == [2, 4, 6]
    assert work.batches == [[4], [1, 2, 3]]


async def test_the_wait_ends_without_company(work: Doubler) -> None:
    began_s = time.monotonic()
    assert await batcher_of(wait_s=0.05).run(work.double, 1) == 2
    assert time.monotonic() - began_s >= 0.05


async def test_while_one_batch_runs_the_next_one_gathers_by_urgency(work: Doubler) -> None:
    batcher = batcher_of()
    work.gate.clear()
    tasks = [asyncio.create_task(batcher.run(work.double, 0))]
    await until(lambda: work.batches)
    for number, slack_s in enumerate((9.0, 1.0, 5.0, -2.0, 1.0), start=1):
        tasks.append(asyncio.create_task(batcher.run(work.double, number, slack_s=slack_s)))
        await asyncio.sleep(0)
    metrics = batcher.metrics()
    assert (metrics.held_jobs, metrics.waiting_jobs, metrics.rows) == (1, 5, 3)
    work.gate.set()
    await asyncio.gather(*tasks)
    assert work.batches == [[0], [4, 2, 5], [3, 1]]


async def test_only_equal_work_shares_a_batch(work: Doubler) -> None:
    batcher = batcher_of()
    results = await asyncio.gather(
        batcher.run(work.double, 1),
        batcher.run(work.halve, 2),
        batcher.run(work.double, 3),
        batcher.run(work.halve, 4),
    )
    assert results == [2, 1.0, 6, 2.0]
    assert work.batches == [[1, 3], [2, 4]]


async def test_who_is_at_fault_fails_alone(work: Doubler) -> None:
    batcher = batcher_of()
    results = await asyncio.gather(*(batcher.run(work.double, n) for n in (1, -1, 2)), return_exceptions=True)
    assert (results[0], results[2]) == (2, 4)
    assert isinstance(results[1], ArithmeticError)
    assert work.batches == [[1, -1, 2], [1], [-1], [2]]
    metrics = batcher.metrics()
    assert (metrics.finished, metrics.failed) == (2, 1)
    batcher.check_health()


async def test_a_lost_device_fails_everything_from_then_on(work: Doubler) -> None:
    def probe() -> None:
        raise RuntimeError("gone")

    batcher = batcher_of(max_batch=1, probe=probe)
    waiting = [asyncio.create_task(batcher.run(work.double, n)) for n in (-1, 1)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], ArithmeticError)
    assert isinstance(results[1], Unavailable)
    with pytest.raises(Unavailable, match=r"the device has failed \(gone\)"):
        batcher.check_health()
    with pytest.raises(Unavailable):
        await batcher.run(work.double, 1)


async def test_what_a_client_did_wrong_is_no_fault_of_the_device() -> None:
    def refuse(jobs: Sequence[int]) -> list[int]:
        raise InvalidRequest("too short")

    batcher = batcher_of(probe=lambda: pytest.fail("asked"))
    with pytest.raises(InvalidRequest):
        await batcher.run(refuse, 1)
    batcher.check_health()


async def test_a_job_that_still_waits_at_its_deadline_fails_then(work: Doubler) -> None:
    batcher = batcher_of(max_batch=1)
    work.gate.clear()
    running = asyncio.create_task(batcher.run(work.double, 1, deadline=Deadline.after(0.05)))
    await until(lambda: work.batches)
    with pytest.raises(DeadlineExceeded):  # while the batch before it hangs
        await asyncio.wait_for(batcher.run(work.double, 2, deadline=Deadline.after(0.05)), 10)
    with pytest.raises(DeadlineExceeded):
        await batcher.run(work.double, 3, deadline=Deadline.after(-1))
    work.gate.set()
    assert await running == 2, "what has begun is finished"
    assert work.batches == [[1]]


async def test_a_caller_who_leaves_costs_nothing(work: Doubler) -> None:
    batcher = batcher_of(max_batch=1)
    work.gate.clear()
    running, leaving, staying = (asyncio.create_task(batcher.run(work.double, n)) for n in (1, 2, 3))
    await until(lambda: work.batches)
    for task in (running, leaving):
        task.cancel()
    await asyncio.gather(running, leaving, return_exceptions=True)
    work.gate.set()
    assert await staying == 6
    assert work.batches == [[1], [3]]
    assert batcher.metrics().cancelled == 2


async def test_too_many_are_refused_at_once_unless_they_belong_to_what_has_begun(work: Doubler) -> None:
    batcher = batcher_of(max_batch=1)
    work.gate.clear()
    tasks = [asyncio.create_task(batcher.run(work.double, 0))]
    await until(lambda: work.batches)
    tasks += [asyncio.create_task(batcher.run(work.double, n)) for n in range(1, WAITING_BATCHES + 1)]
    await until(lambda: batcher.metrics().waiting_jobs == WAITING_BATCHES)
    with pytest.raises(Overloaded) as refused:
        await batcher.run(work.double, -7)
    assert refused.value.retry_after_s
    tasks.append(asyncio.create_task(batcher.run(work.double, 99, refusable=False)))
    await asyncio.sleep(0)
    work.gate.set()
    assert len(await asyncio.gather(*tasks)) == WAITING_BATCHES + 2
    assert batcher.metrics().refused == 1


async def test_a_call_that_never_returns_fails_the_health_check(work: Doubler) -> None:
    batcher = batcher_of(timeout_s=0.02)
    work.gate.clear()
    task = asyncio.create_task(batcher.run(work.double, 1))
    await until(lambda: work.batches)
    await asyncio.sleep(0.03)
    with pytest.raises(Unavailable, match=r"not returned for 0\.02 s"):
        batcher.check_health()
    work.gate.set()
    assert await task == 2
    batcher.check_health()


async def test_stopping_fails_what_waits(work: Doubler) -> None:
    batcher = batcher_of(max_batch=1)
    work.gate.clear()
    running, waiting = (asyncio.create_task(batcher.run(work.double, n)) for n in (1, 2))
    await until(lambda: work.batches)
    batcher.stop()
    with pytest.raises(Unavailable, match="stopped"):
        await waiting
    work.gate.set()
    assert await running == 2
    with pytest.raises(Unavailable, match="stopped"):
        await batcher.run(work.double, 3)


async def test_replies_carry_the_metrics(work: Doubler) -> None:
    batcher = batcher_of()
    reply = batcher.reply(await batcher.run(work.double, 1))
    assert reply.value == 2
    assert (reply.metrics.replica, reply.metrics.steps, reply.metrics.rows_stepped) == ("r", 1, 1)
    assert reply.metrics.step_s > 0


@pytest.mark.parametrize("options", [{"max_batch": 0}, {"wait_s": -1.0}, {"wait_s": float("nan")}])
def test_impossible_limits_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="toy"):
        batcher_of(**options)


def test_failures_are_isolated_and_counted_results_checked() -> None:
    def triple(numbers: Sequence[int]) -> list[int]:
        if 0 in numbers:
            raise ValueError("zero")
        return [3 * number for number in numbers]

    first, second, third = isolate_failures(triple, [1, 0, 2])
    assert (first, third) == (3, 6)
    assert isinstance(second, ValueError)
    assert isolate_failures(triple, []) == []
    assert all(isinstance(each, RuntimeError) for each in isolate_failures(lambda jobs: [], [1, 2]))


async def test_the_log_names_all_requests_of_a_batch_that_failed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass
    class Job:
        request_id: str

    def fail(jobs: Sequence[Job]) -> list[int]:
        raise RuntimeError("broken")

    batcher = Batcher("toy", max_batch=2, wait_s=5)
    with caplog.at_level(logging.ERROR, "ray.serve"):
        monkeypatch.setattr(logging.getLogger("ray.serve"), "propagate", True)  # as caplog needs it
        answers = await asyncio.gather(
            batcher.run(fail, Job("ada")), batcher.run(fail, Job("bob")), return_exceptions=True
        )
    assert all(isinstance(answer, RuntimeError) for answer in answers)
    assert "[requests ada bob]" in caplog.text
    batcher.stop()
