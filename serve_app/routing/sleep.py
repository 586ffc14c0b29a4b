"""Models that may have no replica at rest: whether they sleep, how long they take to wake, and waking them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from deployments.core.errors import Unavailable
from deployments.core.logs import logger
from deployments.core.pipeline import Pipeline
from deployments.core.ray_internals import own_context
from deployments.core.stage_watch import LOOK_EVERY_S

LATE = 2.0  # times the usual start: a model that has not come by then is down


class Sleepers:
    """Used from one event loop. `at_rest`: whether a model has no replica of some stage, and lost none."""

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        cold_start_s: Mapping[str, float],
        at_rest: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`cold_start_s`: the models that may sleep, and how long they take to start until that was measured."""
        self._pipelines = pipelines
        self._cold_start_s = dict(cold_start_s)
        self._at_rest = at_rest
        self._clock = clock
        self._woken_s: dict[str, float] = {}  # since when each is being woken
        self._waking: dict[str, asyncio.Task[None]] = {}

    def asleep(self, model: str) -> bool:
        """Whether it has no replica of some stage, and that is as it should be: it sleeps, or wakes in time."""
        if model not in self._cold_start_s:
            return False
        if not self._at_rest(model):
            if model not in self._waking:
                self._woken_s.pop(model, None)
            return False
        woken_s = self._woken_s.get(model)
        return woken_s is None or self._clock() - woken_s < LATE * self._cold_start_s[model]

    def starts_in_s(self, model: str) -> float:
        """Until a model that sleeps is there, woken now or before."""
        woken_s = self._woken_s.get(model, self._clock())
        return max(0.0, self._cold_start_s[model] - (self._clock() - woken_s))

    def wake(self, model: str) -> None:
        """Have it started, in the background: Serve starts replicas where calls wait. Without effect if it is awake."""
        if not self.asleep(model) or model in self._waking:
            return
        self._woken_s[model] = self._clock()
        logger.info("model %s is woken; it takes some %.0f s", model, self._cold_start_s[model])
        self._waking[model] = own_context(asyncio.create_task, self._wake(model))

    async def _wake(self, model: str) -> None:
        began_s = self._woken_s[model]
        call = asyncio.ensure_future(self._pipelines[model].ready())
        try:
            await self.awake(model)
            if not self._at_rest(model):
                self._cold_start_s[model] = max(LOOK_EVERY_S, self._clock() - began_s)
                del self._woken_s[model]
                logger.info("model %s is awake after %.1f s", model, self._cold_start_s[model])
            else:
                logger.warning("model %s was woken, and has not come in time", model)
        finally:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            del self._waking[model]

    async def awake(self, model: str) -> None:
        """Until it does not sleep, whoever wakes it: it is there, or it has not come in time."""
        while True:
            if not self.asleep(model):
                return
            await asyncio.sleep(LOOK_EVERY_S)

    def refuse_hopeless(self, model: str, left_s: float) -> None:
        """Raises Unavailable, with when to come back, where a model that wakes will not be there within `left_s`."""
        if self.asleep(model) and (starts_in_s := self.starts_in_s(model)) > left_s:
            raise Unavailable(
                f"model {model!r} was asleep and is being started; it will be there in about {starts_in_s:.0f} s",
                code="model_asleep",
                retry_after_s=max(1.0, starts_in_s),
            )
