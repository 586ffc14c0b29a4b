"""Which models are up, as this router sees it: from requests and from its own probes. Busy is not down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from deployments.core.deadline import within
from deployments.core.errors import DeadlineExceeded, ReplicaDied, SpeechError, Unavailable
from deployments.core.logs import logger
from deployments.core.pipeline import Pipeline
from deployments.core.ray_internals import own_context
from serve_app.routing.circuit import Circuit, State
from serve_app.routing.replicas import Replicas

READY_TIMEOUT_S = 2.0
BUSY_S = (
    10.0  # so long after it was last heard a model that works for others is not asked whether it is there
)
FAULTS_IN_A_ROW = 3  # errors inside a model may be the fault of single requests: so many are not


class HealthMonitor:
    """One circuit per model; used from one event loop."""

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        clock: Callable[[], float] = time.monotonic,
        replicas: Replicas | None = None,
        asleep: Callable[[str], bool] = lambda model: False,
    ) -> None:
        """`asleep`: whether a model has no replica, and need not have one: to ask it would wake it."""
        self._pipelines = pipelines
        self.replicas = replicas or Replicas({name: {} for name in pipelines})
        self._clock = clock
        self._asleep = asleep
        self._circuits = {name: Circuit(clock) for name in pipelines}
        self._heard_s = dict.fromkeys(pipelines, float("-inf"))
        self._faults = dict.fromkeys(pipelines, 0)
        self._probing: dict[str, asyncio.Task[None]] = {}

    def is_up(self, model: str) -> bool:
        """Whether requests may go there as to any other."""
        return self._circuits[model].lets_in and self.replicas.runs(model)

    def state(self, model: str) -> State:
        return self._circuits[model].state

    def heard(self, model: str) -> None:
        """Audio came."""
        self._heard_s[model] = self._clock()

    def answered(self, model: str) -> None:
        """A request got its first audio."""
        if self.state(model) is not State.CLOSED:
            logger.info("model %s answers again", model)
        self.heard(model)
        self._faults[model] = 0
        self._circuits[model].answered()

    def failed(self, model: str, failure: SpeechError, *, waited_s: float, allowed_s: float) -> None:
        """A request got `failure` in place of audio, after `waited_s`.

        A model that is not there, or died, says so in the error. One that missed a deadline is down only if nobody
        has heard of it meanwhile, and if it had at least `allowed_s`: clients may ask for less.
        """
        if self._asleep(model):
            return
        if isinstance(failure, DeadlineExceeded):
            silent_s = self._clock() - self._heard_s[model]
            down = waited_s >= allowed_s and silent_s >= waited_s
        elif isinstance(failure, ReplicaDied) and self.replicas.runs(model):
            return  # another one does the work
        elif isinstance(failure, Unavailable):
            down = failure.code == Unavailable.default_code
        elif failure.status == SpeechError.status:
            self._faults[model] += 1
            down = self._faults[model] >= FAULTS_IN_A_ROW
        else:
            return
        if down:
            self._open(model, failure.message)

    @contextmanager
    def attempt(self, model: str) -> Generator[None, None, None]:
        """Around a request until its first audio, or its failure."""
        circuit = self._circuits[model]
        tries = circuit.begin_trial()
        try:
            yield
        finally:
            if tries:
                circuit.end_trial()

    async def answers(self, model: str) -> bool:
        """Whether the model is there: heard of lately, or else asked. One that is busy may be slow to answer."""
        if self._asleep(model):
            return True
        if not self.replicas.runs(model):
            return False
        closed = self.state(model) is State.CLOSED
        if closed and self._clock() - self._heard_s[model] < BUSY_S:
            return True
        if await self._ask(model):
            self._circuits[model].probe_answered()
            return True
        if closed and self._clock() - self._heard_s[model] < READY_TIMEOUT_S:
            return True  # audio came meanwhile
        self._open(model, "it does not say that it is ready")
        return False

    async def watch(self) -> None:
        """Notice at once, and without being asked, where the last replica of a stage dies; without end."""
        try:
            await self.replicas.watch(self._lost, self._back)
        except Exception:  # what it leans on is Ray's own; without it requests tell by their failures
            logger.exception("deaths of replicas are no longer noticed at once")

    def _lost(self, model: str, stage: str) -> None:
        self._heard_s[model] = float("-inf")
        self._open(model, f"no replica of {stage} runs")

    def _back(self, model: str) -> None:
        circuit = self._circuits[model]
        if circuit.state is State.OPEN:
            circuit.probe_now()
            if (probing := self._probing.pop(model, None)) is not None:
                probing.cancel()
            self._probing[model] = own_context(asyncio.create_task, self._probe(model))

    async def status(self) -> dict[str, bool]:
        """Of all models, within two seconds."""
        found = await asyncio.gather(*map(self.answers, self._pipelines))
        return dict(zip(self._pipelines, found, strict=True))

    async def _ask(self, model: str) -> bool:
        try:
            return await within(READY_TIMEOUT_S, self._pipelines[model].ready())
        except Exception:  # whatever a stage raises, it is not ready
            return False

    def _open(self, model: str, why: str) -> None:
        circuit = self._circuits[model]
        if circuit.state is not State.OPEN:
            circuit.failed()
            logger.warning("model %s is avoided until it answers again: %s", model, why)
        probing = self._probing.get(model)
        if probing is None or probing.done():
            # Not as a part of the request that saw it, with whose end Serve would cancel the calls.
            self._probing[model] = own_context(asyncio.create_task, self._probe(model))

    async def _probe(self, model: str) -> None:
        """Ask at growing intervals, until it answers."""
        circuit = self._circuits[model]
        while (wait_s := circuit.probe_in_s) is not None:
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            elif await self._ask(model):
                circuit.probe_answered()
            else:
                circuit.probe_failed()
