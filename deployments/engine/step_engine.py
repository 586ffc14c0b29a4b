"""A step loop in its own thread: requests join and leave between steps, the most urgent rows run first."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
from bisect import insort
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Generic, TypeVar

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import DeadlineExceeded, Overloaded, Unavailable
from deployments.core.logs import ids_of, logger
from deployments.core.metrics import Reply, StageMetrics
from deployments.engine.batch import UNKNOWN, choose_batch, without_idlers
from deployments.engine.meter import Meter
from deployments.engine.request import End, EngineRequest, Outbox
from deployments.engine.step_model import Job, Out, Outcome, Row, StepModel
from deployments.streaming.cost import CostMeter

T = TypeVar("T")

# The first due is fixed at arrival, so that old requests win in the end; an endless slack would void that.
MAX_SLACK_S = 60.0
# A step takes milliseconds on a GPU and seconds on a slow CPU. One that takes longer than this will never return.
STEP_TIMEOUT_S = 120.0


class StepEngine(Generic[Job, Row, Out]):
    """Runs one model. Call `start` once, then `run` on any event loop, `stop` at the end.

    max_rows: sum of the widths of the requests that hold a row; max_step_cost: bound on the cost of one step,
    in the unit of the model's `cost`; max_waiting: widths that may wait beyond `max_rows`; replica: name of this
    process in the metrics.
    """

    def __init__(
        self,
        model: StepModel[Job, Row, Out],
        *,
        name: str,
        max_rows: int,
        max_step_cost: int,
        max_waiting: int,
        replica: str = "",
        step_timeout_s: float = STEP_TIMEOUT_S,
    ) -> None:
        if max_rows < 1 or max_step_cost < 1 or max_waiting < 0:
            raise ValueError(
                f"{name}: max_rows {max_rows} and max_step_cost {max_step_cost} must be at least 1, "
                f"max_waiting {max_waiting} at least 0"
            )
        self.name = name
        self.max_rows = max_rows
        self._model = model
        self._max_step_cost = max_step_cost
        self._max_waiting = max_waiting
        self._step_timeout_s = step_timeout_s
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._work, name=f"{name}-steps", daemon=True)
        # Guarded by _changed:
        self._changed = threading.Condition()
        self._waiting: list[EngineRequest[Job, Out]] = []  # by urgency
        self._waiting_width = 0
        self._held_width = 0
        self._meter = Meter(replica, max_rows, name)
        self._ended = ""  # why no request is taken any more
        self._cause: BaseException | None = None
        # Of the engine's thread:
        self._active: list[EngineRequest[Job, Out]] = []  # by urgency
        self._busy_since_s: float | None = None  # the model is at work
        self._step_cost = CostMeter(UNKNOWN)  # of steps in which every row made audio

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is not finished fails. Blocks for one step at most."""
        with self._changed:
            self._ended = self._ended or "the engine was stopped"
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def check_health(self) -> None:
        """Raises Unavailable with the reason if no request can be served (any more)."""
        if self._ended:
            raise self._unavailable()
        if not self._thread.is_alive():
            raise Unavailable(f"{self.name}: the engine was not started")
        since_s = self._busy_since_s
        if since_s is not None and time.monotonic() - since_s > self._step_timeout_s:
            raise Unavailable(f"{self.name}: a step has not returned for {self._step_timeout_s:g} s")

    def metrics(self) -> StageMetrics:
        with self._changed:
            return self._meter.metrics(
                held_jobs=len(self._active),
                held_rows=self._held_width,
                waiting_jobs=len(self._waiting),
                waiting_rows=self._waiting_width,
            )

    def jobs(self) -> list[Job]:
        """All that hold a row or wait for one."""
        with self._changed:
            return [request.job for request in (*self._active, *self._waiting)]

    def reply(self, value: T) -> Reply[T]:
        """A result with the state of the engine beside it."""
        return Reply(value, self.metrics())

    async def result(
        self, job: Job, *, slack_s: float = 0.0, deadline: Deadline = NEVER, refusable: bool = True
    ) -> Out:
        """The first output of a job that has only one; otherwise as `run`."""
        async with aclosing(
            self.run(job, slack_s=slack_s, deadline=deadline, refusable=refusable)
        ) as outputs:
            async for output in outputs:
                return output
        raise RuntimeError(f"{self.name}: the job ended without output")

    async def run(
        self, job: Job, *, slack_s: float = 0.0, deadline: Deadline = NEVER, refusable: bool = True
    ) -> AsyncGenerator[Out, None]:
        """The outputs of a job. `slack_s`: time until they are needed; smaller runs earlier, at most 60 counts.

        Closing the generator, or cancelling the task that reads it, frees the row before the next step. Raises
        Overloaded at once if too many wait (a job that is not `refusable` waits all the same, because its stream has
        begun), DeadlineExceeded if it still waits when `deadline` passes, Unavailable if the engine is broken or
        stopped, ValueError if the job is wider than the engine, and what the model raised for this job.
        """
        request = self._submit(job, slack_s, deadline, refusable)
        try:
            while not isinstance(item := await request.inbox.get(), End):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            self._leave(request)

    def _submit(
        self, job: Job, slack_s: float, deadline: Deadline, refusable: bool
    ) -> EngineRequest[Job, Out]:
        if math.isnan(slack_s):
            raise ValueError(f"{self.name}: slack_s is not a number")
        width = self._model.width(job)
        if not 1 <= width <= self.max_rows:
            raise ValueError(f"{self.name}: the job takes {width} rows; 1 to {self.max_rows} are possible")
        if deadline.passed:
            raise self._too_late()
        now_s = time.monotonic()
        request: EngineRequest[Job, Out] = EngineRequest(
            job,
            width,
            arrived_s=now_s,
            due_s=now_s + min(slack_s, MAX_SLACK_S),
            deadline=deadline,
            number=next(self._numbers),
            loop=asyncio.get_running_loop(),
        )
        with self._changed:
            self.check_health()
            full = self._held_width + self._waiting_width + width > self.max_rows + self._max_waiting
            if full and refusable:
                self._meter.refused += 1
                raise Overloaded(
                    f"{self.name}: too many requests are waiting ({len(self._waiting)}); try again shortly",
                    retry_after_s=self._retry_after_s(),
                )
            insort(self._waiting, request, key=_urgency)
            self._waiting_width += width
            self._changed.notify()
        return request

    def _retry_after_s(self) -> float:
        rounds = (self._held_width + self._waiting_width) / self.max_rows
        return max(1.0, math.ceil(rounds * self._meter.service_s.value))

    def _leave(self, request: EngineRequest[Job, Out]) -> None:
        """The caller takes no more; without effect on a request that has ended."""
        with self._changed:
            request.left = True
            if request in self._waiting:
                self._forget(request)
                self._meter.cancelled += 1

    def _forget(self, request: EngineRequest[Job, Out]) -> None:
        self._waiting.remove(request)
        self._waiting_width -= request.width

    def _unavailable(self) -> Unavailable:
        # A new one each time: a raised exception collects the frames of every raise.
        error = Unavailable(f"{self.name}: {self._ended}")
        error.__cause__ = self._cause
        return error

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self.name}: no turn came within the time allowed", retry_after_s=2)

    # From here on all methods run in the engine's thread.

    def _work(self) -> None:
        try:
            while self._wait_for_work():
                self._busy_since_s = time.monotonic()
                self._drop_left()
                self._expire()
                self._admit()
                self._step()
                self._busy_since_s = None
        except BaseException as error:  # whatever it was, nobody may be left without an answer
            ids = ids_of(request.job for request in self._active)
            logger.exception("%s: a step failed; the engine ends %s", self.name, ids)
            with self._changed:
                self._ended = f"the engine failed ({type(error).__name__}: {error})"
                self._cause = error
        self._dismiss()

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._waiting or self._active)
            return not self._ended

    def _drop_left(self) -> None:
        for request in [each for each in self._active if each.left]:
            self._release(request)
            with self._changed:
                self._meter.cancelled += 1

    def _expire(self) -> None:
        """Nobody wants those any more who have waited beyond their deadline."""
        outbox = Outbox()
        with self._changed:
            for request in [each for each in self._waiting if each.deadline.passed]:
                self._forget(request)
                self._meter.failed += 1
                outbox.add(request, End(self._too_late()))
        outbox.send()

    def _admit(self) -> None:
        outbox = Outbox()
        while (request := self._next_waiting()) is not None:
            insort(self._active, request, key=_urgency)
            try:
                request.row = self._model.admit(request.job)
                request.admitted_s = time.monotonic()
            except Exception as error:  # belongs to this request alone
                outbox.add(request, End(error))
                self._finish(request, error)
        outbox.send()

    def _next_waiting(self) -> EngineRequest[Job, Out] | None:
        """The most urgent one, if there is room for it: narrow ones do not overtake a wide one."""
        with self._changed:
            if not self._waiting or self._held_width + self._waiting[0].width > self.max_rows:
                return None
            request = self._waiting.pop(0)
            self._waiting_width -= request.width
            self._held_width += request.width
            self._meter.began(request.job, request.arrived_s)
            return request

    def _step(self) -> None:
        if not self._active:
            return
        began_s = time.monotonic()
        fitting = choose_batch(self._active, self._cost, self._max_step_cost)
        batch = without_idlers(fitting, self._cost, self._step_cost.cost, began_s)
        cost = self._cost(batch)  # before the step, which may change it
        outcomes = self._model.step([request.row for request in batch])
        self._busy_since_s = None  # what follows cannot hang, and tells callers that the step is over
        seconds = time.monotonic() - began_s
        if len(outcomes) != len(batch):
            raise RuntimeError(f"the model gave {len(outcomes)} outcomes for {len(batch)} rows")
        with self._changed:
            self._meter.stepped(len(batch), seconds)
        self._pace(batch, outcomes, cost, seconds)
        outbox = Outbox()
        try:
            for request, outcome in zip(batch, outcomes, strict=True):
                outbox.add(request, *outcome.outputs)
                if outcome.done or outcome.error is not None:
                    outbox.add(request, End(outcome.error))
                    self._finish(request, outcome.error)
        finally:
            outbox.send()  # after the releases: a caller who sees the end finds the row free

    def _pace(
        self,
        batch: Sequence[EngineRequest[Job, Out]],
        outcomes: Sequence[Outcome[Out]],
        cost: int,
        seconds: float,
    ) -> None:
        """What a row made in this step is heard before what it makes next."""
        if all(outcome.made_s > 0 for outcome in outcomes):
            self._step_cost.observe(cost, seconds)
        for request, outcome in zip(batch, outcomes, strict=True):
            request.made_s = outcome.made_s
            request.due_s += outcome.made_s
        if any(outcome.made_s > 0 for outcome in outcomes):
            self._active.sort(key=_urgency)

    def _cost(self, requests: Sequence[EngineRequest[Job, Out]]) -> int:
        return self._model.cost([request.row for request in requests])

    def _finish(self, request: EngineRequest[Job, Out], error: Exception | None) -> None:
        with self._changed:
            if request.admitted_s is not None:
                self._meter.ended(request.job, request.admitted_s, error)
            elif error is not None:
                self._meter.failed += 1
        self._release(request)

    def _release(self, request: EngineRequest[Job, Out]) -> None:
        self._active.remove(request)
        with self._changed:
            self._held_width -= request.width
        if request.admitted_s is not None:
            row, request.row = request.row, None
            self._model.release(row)

    def _dismiss(self) -> None:
        """Fail what is left; the loop has ended."""
        with self._changed:
            waiting, self._waiting, self._waiting_width = self._waiting, [], 0
            self._held_width += sum(request.width for request in waiting)
        self._active += waiting
        outbox = Outbox()
        for request in list(self._active):
            outbox.add(request, End(error := self._unavailable()))
            try:
                self._finish(request, error)
            except Exception:
                logger.exception("%s: a row could not be released", self.name)
        outbox.send()


def _urgency(request: EngineRequest[Job, Out]) -> tuple[float, int]:
    return request.urgency
