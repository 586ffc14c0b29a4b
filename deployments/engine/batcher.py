"""Batches of stateless work: jobs that arrive together are computed together, in one thread, the most urgent first."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from bisect import insort
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from deployments.core.deadline import NEVER, Deadline, within
from deployments.core.errors import DeadlineExceeded, Overloaded, SpeechError, Unavailable
from deployments.core.logs import ids_of, logger
from deployments.core.metrics import Reply, StageMetrics
from deployments.engine.meter import Meter
from deployments.engine.step_engine import MAX_SLACK_S, STEP_TIMEOUT_S

Job = TypeVar("Job")
Out = TypeVar("Out")
T = TypeVar("T")
Compute = Callable[[Sequence[Job]], Sequence[Out]]
"""Blocking: the results of a batch, in the order of its jobs. What it raises for one job alone is that job's error."""

WAITING_BATCHES = 16  # what may wait; a job beyond that is refused if it is refusable


@dataclass(eq=False, slots=True)
class _Request:
    """A job that waits or is computed. `result` is done as soon as nobody waits for it any more."""

    compute: Compute[Any, Any]
    job: Any
    arrived_s: float
    urgency: tuple[float, int]  # when a listener needs it, then the order of arrival
    result: asyncio.Future[Any]


class Batcher:
    """Computes for one event loop. One thread, because batches on one device would only slow each other down.

    max_batch: jobs of a batch; wait_s: how long the first job of a batch waits for others, while nothing is computed;
    timeout_s: a batch that takes longer will never end; probe: raises if the device can compute nothing any more,
    called after a failure that is not the job's own fault; replica: name of this process in the metrics.
    """

    def __init__(
        self,
        name: str,
        *,
        max_batch: int,
        wait_s: float = 0.0,
        replica: str = "",
        timeout_s: float = STEP_TIMEOUT_S,
        probe: Callable[[], object] = lambda: None,
    ) -> None:
        if max_batch < 1 or not 0 <= wait_s < math.inf:
            raise ValueError(f"{name}: max_batch {max_batch} must be 1 or more, wait_s {wait_s} 0 or more")
        self.name = name
        self._max_batch = max_batch
        self._max_waiting = WAITING_BATCHES * max_batch
        self._wait_s = wait_s
        self._timeout_s = timeout_s
        self._probe = probe
        self._meter = Meter(replica, max_batch, name)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._numbers = itertools.count()
        self._waiting: list[_Request] = []  # by urgency
        self._computed: Sequence[_Request] = ()  # now, in the thread
        self._busy_since_s: float | None = None
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._ended = ""  # why nothing is computed any more

    async def run(
        self,
        compute: Compute[Job, Out],
        job: Job,
        *,
        slack_s: float = 0.0,
        deadline: Deadline = NEVER,
        refusable: bool = True,
    ) -> Out:
        """The result of `job`, computed in one batch with others that have the same `compute`.

        A batch that fails is computed again job by job, so that only those at fault fail. Raises what `compute` raises,
        Overloaded at once if too many wait and the job is `refusable`, DeadlineExceeded if it still waits when
        `deadline` passes, Unavailable if the device has failed. Whoever is cancelled while waiting costs nothing.
        """
        request = self._submit(compute, job, slack_s, deadline, refusable)
        expiry = None
        if (left_s := deadline.left_s) < math.inf:
            expiry = asyncio.get_running_loop().call_later(left_s, self._expire, request)
        try:
            result: Out = await request.result
            return result
        except asyncio.CancelledError:
            self._meter.cancelled += 1
            raise
        finally:
            if expiry is not None:
                expiry.cancel()
            if request in self._waiting:
                self._waiting.remove(request)

    def reply(self, value: T) -> Reply[T]:
        """A result with the state of the batcher beside it."""
        return Reply(value, self.metrics())

    def metrics(self) -> StageMetrics:
        held, waiting = len(self._computed), len(self._waiting)
        return self._meter.metrics(held_jobs=held, held_rows=held, waiting_jobs=waiting, waiting_rows=waiting)

    def check_health(self) -> None:
        """Raises Unavailable with the reason if no job can be computed (any more)."""
        if self._ended:
            raise Unavailable(f"{self.name}: {self._ended}")
        since_s = self._busy_since_s
        if since_s is not None and time.monotonic() - since_s > self._timeout_s:
            raise Unavailable(f"{self.name}: a batch has not returned for {self._timeout_s:g} s")

    def stop(self) -> None:
        """What waits fails; a batch that is being computed ends by itself."""
        self._end("it was stopped")
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _submit(
        self, compute: Compute[Job, Out], job: Job, slack_s: float, deadline: Deadline, refusable: bool
    ) -> _Request:
        self.check_health()
        if deadline.passed:
            raise self._too_late()
        if refusable and len(self._waiting) >= self._max_waiting:
            self._meter.refused += 1
            batches = len(self._waiting) / self._max_batch
            raise Overloaded(
                f"{self.name}: too many requests are waiting ({len(self._waiting)}); try again shortly",
                retry_after_s=max(1.0, math.ceil(batches * self._meter.step_s.value)),
            )
        loop, now_s = asyncio.get_running_loop(), time.monotonic()
        urgency = (now_s + min(slack_s, MAX_SLACK_S), next(self._numbers))
        request = _Request(compute, job, now_s, urgency, loop.create_future())
        insort(self._waiting, request, key=lambda each: each.urgency)
        self._arrived.set()
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return request

    def _expire(self, request: _Request) -> None:
        if request in self._waiting and not request.result.done():
            self._waiting.remove(request)
            self._meter.failed += 1
            request.result.set_exception(self._too_late())

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self.name}: no turn came within the time allowed", retry_after_s=2)

    async def _work(self) -> None:
        """Batch after batch, until nothing waits."""
        try:
            while self._waiting and not self._ended:
                await self._gather()
                if batch := self._next_batch():
                    await self._compute(batch)
        except Exception as error:  # whatever it was, nobody may be left without an answer
            logger.exception("%s: the batcher failed", self.name)
            self._end(f"the batcher failed ({type(error).__name__}: {error})")

    async def _gather(self) -> None:
        """Wait for a full batch, as long as the first job may wait for it."""
        while 0 < len(self._waiting) < self._max_batch:
            first_s = min(request.arrived_s for request in self._waiting)
            left_s = first_s + self._wait_s - time.monotonic()
            if left_s <= 0:
                return
            self._arrived.clear()
            try:
                await within(left_s, self._arrived.wait())
            except TimeoutError:
                return

    def _next_batch(self) -> list[_Request]:
        """The most urgent job, and those behind it that can be computed with it."""
        if not self._waiting:
            return []
        compute = self._waiting[0].compute
        batch = [request for request in self._waiting if request.compute == compute][: self._max_batch]
        self._waiting = [request for request in self._waiting if request not in batch]
        return batch

    async def _compute(self, batch: Sequence[_Request]) -> None:
        for request in batch:
            self._meter.began(request.job, request.arrived_s)
        began_s = time.monotonic()
        self._computed = batch
        try:
            loop = asyncio.get_running_loop()
            outcomes = await loop.run_in_executor(self._thread, self._outcomes, batch)
        finally:
            self._computed = ()
        seconds = time.monotonic() - began_s
        self._meter.stepped(len(batch), seconds)
        for request, outcome in zip(batch, outcomes, strict=True):
            if request.result.done():  # the caller has left
                continue
            if isinstance(outcome, Exception):
                self._meter.ended(request.job, began_s, outcome)
                request.result.set_exception(outcome)
            else:
                self._meter.ended(request.job, began_s)
                request.result.set_result(outcome)
        if self._ended:
            self._end(self._ended)

    def _outcomes(self, batch: Sequence[_Request]) -> list[Any]:
        """In the thread: a result or an error for each job."""
        self._busy_since_s = time.monotonic()
        try:
            jobs = [request.job for request in batch]
            return isolate_failures(batch[0].compute, jobs, self._check_device)
        finally:
            self._busy_since_s = None

    def _check_device(self, error: Exception, jobs: Sequence[Any]) -> None:
        """In the thread, after a failure that may be the device's."""
        if isinstance(error, SpeechError):
            return
        logger.error("%s: a batch failed %s", self.name, ids_of(jobs), exc_info=error)
        try:
            self._probe()
        except Exception as lost:
            self._ended = f"the device has failed ({lost})"

    def _end(self, reason: str) -> None:
        self._ended = self._ended or reason
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            if not request.result.done():
                self._meter.failed += 1
                request.result.set_exception(Unavailable(f"{self.name}: {self._ended}"))


def isolate_failures(
    compute: Compute[Job, Out],
    jobs: Sequence[Job],
    on_failure: Callable[[Exception, Sequence[Job]], None] = lambda error, jobs: None,
) -> list[Out | Exception]:
    """Results of all jobs together; where that fails, of one by one: whoever is at fault fails alone."""
    try:
        results = list(compute(jobs))
        if len(results) != len(jobs):
            raise RuntimeError(f"{len(results)} results for {len(jobs)} jobs")
        return [*results]
    except Exception as error:
        on_failure(error, jobs)
        if len(jobs) == 1:
            return [error]
    return [isolate_failures(compute, [job], on_failure)[0] for job in jobs]


def device_probe(device: str) -> Callable[[], object]:
    """A small computation, which raises where the device has failed: only another process helps then.

    After a failure for want of memory, or one of the code, a device still computes.
    """
    import torch  # noqa: PLC0415  (nothing else of the engine needs it)

    return lambda: torch.ones(1, device=device).sum().item()
