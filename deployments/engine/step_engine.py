"""A step loop in its own thread: requests join and leave between steps, the most urgent rows run first (DESIGN 4)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import threading
import time
from bisect import insort
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Generic

from deployments.core.errors import Overloaded, Unavailable
from deployments.engine.batch import choose_batch
from deployments.engine.engine_stats import EngineStats, Meter
from deployments.engine.request import End, Mail, Request
from deployments.engine.step_model import Job, Out, Row, StepModel

logger = logging.getLogger(__name__)

# Deadlines are fixed at arrival, so that old requests win in the end; an endless slack would void that.
MAX_SLACK_S = 60.0


class StepEngine(Generic[Job, Row, Out]):
    """Runs one model. Call `start` once, then `run` on any event loop, `stop` at the end.

    max_rows: sum of the widths of the requests that hold a row; max_step_cost: bound on the cost of one step,
    in the unit of the model's `cost`; max_waiting: widths that may wait beyond `max_rows`.
    """

    def __init__(
        self,
        model: StepModel[Job, Row, Out],
        *,
        name: str,
        max_rows: int,
        max_step_cost: int,
        max_waiting: int,
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
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._work, name=f"{name}-steps", daemon=True)
        # Guarded by _changed:
        self._changed = threading.Condition()
        self._waiting: list[Request[Job, Out]] = []  # by urgency
        self._waiting_width = 0
        self._held_width = 0
        self._meter = Meter()
        self._ended = ""  # why no request is taken any more
        self._cause: BaseException | None = None
        # Of the engine's thread:
        self._active: list[Request[Job, Out]] = []  # by urgency

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

    def stats(self) -> EngineStats:
        with self._changed:
            return self._meter.stats(len(self._active), len(self._waiting), self._held_width)

    async def result(self, job: Job, *, slack_s: float = 0.0) -> Out:
        """The first output of a job that has only one; otherwise as `run`."""
        async with aclosing(self.run(job, slack_s=slack_s)) as outputs:
            async for output in outputs:
                return output
        raise RuntimeError(f"{self.name}: the job ended without output")

    async def run(self, job: Job, *, slack_s: float = 0.0) -> AsyncGenerator[Out, None]:
        """The outputs of a job. `slack_s`: time until they are needed; smaller runs earlier, at most 60 counts.

        Closing the generator, or cancelling the task that reads it, frees the row before the next step. Raises
        Overloaded at once if too many wait, Unavailable if the engine is broken or stopped, ValueError if the
        job is wider than the engine, and what the model raised for this job.
        """
        request = self._submit(job, slack_s)
        try:
            while not isinstance(item := await request.inbox.get(), End):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            self._leave(request)

    def _submit(self, job: Job, slack_s: float) -> Request[Job, Out]:
        if math.isnan(slack_s):
            raise ValueError(f"{self.name}: slack_s is not a number")
        width = self._model.width(job)
        if not 1 <= width <= self.max_rows:
            raise ValueError(f"{self.name}: the job takes {width} rows; 1 to {self.max_rows} are possible")
        now_s = time.monotonic()
        request: Request[Job, Out] = Request(
            job,
            width,
            arrived_s=now_s,
            deadline_s=now_s + min(slack_s, MAX_SLACK_S),
            number=next(self._numbers),
            loop=asyncio.get_running_loop(),
        )
        with self._changed:
            self.check_health()
            if self._held_width + self._waiting_width + width > self.max_rows + self._max_waiting:
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

    def _leave(self, request: Request[Job, Out]) -> None:
        """The caller takes no more; without effect on a request that has ended."""
        with self._changed:
            request.left = True
            if request in self._waiting:
                self._waiting.remove(request)
                self._waiting_width -= request.width
                self._meter.cancelled += 1

    def _unavailable(self) -> Unavailable:
        # A new one each time: a raised exception collects the frames of every raise.
        error = Unavailable(f"{self.name}: {self._ended}")
        error.__cause__ = self._cause
        return error

    # From here on all methods run in the engine's thread.

    def _work(self) -> None:
        try:
            while self._wait_for_work():
                self._drop_left()
                self._admit()
                self._step()
        except BaseException as error:  # whatever it was, nobody may be left without an answer
            logger.exception("%s: a step failed; the engine ends", self.name)
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

    def _admit(self) -> None:
        mail = Mail()
        while (request := self._next_waiting()) is not None:
            insort(self._active, request, key=_urgency)
            try:
                request.row = self._model.admit(request.job)
                request.admitted_s = time.monotonic()
            except Exception as error:  # belongs to this request alone
                mail.add(request, End(error))
                self._finish(request, error)
        mail.send()

    def _next_waiting(self) -> Request[Job, Out] | None:
        """The most urgent one, if there is room for it: narrow ones do not overtake a wide one."""
        with self._changed:
            if not self._waiting or self._held_width + self._waiting[0].width > self.max_rows:
                return None
            request = self._waiting.pop(0)
            self._waiting_width -= request.width
            self._held_width += request.width
            self._meter.wait_s.add(time.monotonic() - request.arrived_s)
            return request

    def _step(self) -> None:
        if not self._active:
            return
        batch = list(choose_batch(self._active, self._cost, self._max_step_cost))
        began_s = time.monotonic()
        outcomes = self._model.step([request.row for request in batch])
        seconds = time.monotonic() - began_s
        if len(outcomes) != len(batch):
            raise RuntimeError(f"the model gave {len(outcomes)} outcomes for {len(batch)} rows")
        with self._changed:
            self._meter.stepped(len(batch), seconds)
        mail = Mail()
        try:
            for request, outcome in zip(batch, outcomes, strict=True):
                mail.add(request, *outcome.outputs)
                if outcome.done or outcome.error is not None:
                    mail.add(request, End(outcome.error))
                    self._finish(request, outcome.error)
        finally:
            mail.send()  # after the releases: a caller who sees the end finds the row free

    def _cost(self, requests: Sequence[Request[Job, Out]]) -> int:
        return self._model.cost([request.row for request in requests])

    def _finish(self, request: Request[Job, Out], error: Exception | None) -> None:
        with self._changed:
            if error is not None:
                self._meter.failed += 1
            elif request.admitted_s is not None:
                self._meter.finished += 1
                self._meter.service_s.add(time.monotonic() - request.admitted_s)
        self._release(request)

    def _release(self, request: Request[Job, Out]) -> None:
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
        mail = Mail()
        for request in list(self._active):
            mail.add(request, End(error := self._unavailable()))
            try:
                self._finish(request, error)
            except Exception:
                logger.exception("%s: a row could not be released", self.name)
        mail.send()


def _urgency(request: Request[Job, Out]) -> tuple[float, int]:
    return request.urgency
