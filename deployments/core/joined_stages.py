"""Several stages of one model in one process: on a small machine each process costs memory and time to start."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from deployments.core.metrics import CAPACITY, WORK
from deployments.core.stages import Stage

if TYPE_CHECKING:
    from ray.serve import Application
    from ray.serve.handle import DeploymentHandle


def bind_joined(name: str, stages: Mapping[str, Stage]) -> dict[str, Application]:
    """By stage, as if each were bound by itself; but all are the one deployment `name`."""
    place = f"{JoinedStages.__module__}.{JoinedStages.__qualname__}"
    num_cpus = sum(stage.num_cpus for stage in stages.values())
    together = Stage(place, {"stages": dict(stages)}, num_cpus).bind(name)
    return dict.fromkeys(stages, together)


class JoinedStages:
    """One replica: one object of each stage. They live, fail their health check and are replaced together."""

    async def __init__(self, stages: Mapping[str, Stage]) -> None:  # type: ignore[misc]  # Serve awaits it
        """Raises what the stages raise."""
        made = await asyncio.gather(*(_made(stage) for stage in stages.values()))
        self._stages: dict[str, Any] = dict(zip(stages, made, strict=True))

    async def call(self, stage: str, method: str, *arguments: Any) -> Any:
        return await getattr(self._stages[stage], method)(*arguments)

    async def stream(self, stage: str, method: str, *arguments: Any) -> AsyncIterator[Any]:
        async with aclosing(getattr(self._stages[stage], method)(*arguments)) as items:
            async for item in items:
                yield item

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Of the stage that has most to do. Serve asks for it by this name."""
        stats = [await stage.record_autoscaling_stats() for stage in self._stages.values()]
        return max(stats, key=lambda each: each[WORK] / max(each[CAPACITY], 1.0))

    def check_health(self) -> None:
        for stage in self._stages.values():
            stage.check_health()


class JoinedHandle:
    """A handle of JoinedStages, for one of them: to be used like the handle of that stage alone."""

    def __init__(self, handle: DeploymentHandle[Any], stage: str, *, stream: bool = False) -> None:
        self._handle = handle
        self._stage = stage
        self._stream = stream

    def options(self, *, stream: bool = False) -> JoinedHandle:
        return JoinedHandle(self._handle.options(stream=stream), self._stage, stream=stream)

    def __getattr__(self, method: str) -> _JoinedMethod:
        if method.startswith("_"):  # of the protocols of copying and pickling, for instance
            raise AttributeError(method)
        call = self._handle.stream if self._stream else self._handle.call
        return _JoinedMethod(call, self._stage, method)


class _JoinedMethod:
    def __init__(self, call: Any, stage: str, method: str) -> None:
        self._call = call
        self._names = stage, method

    def remote(self, *arguments: Any) -> Any:
        return self._call.remote(*self._names, *arguments)


async def _made(stage: Stage) -> Any:
    """The object of a stage, made as Serve makes it: a constructor may be asynchronous."""
    kind = await asyncio.to_thread(_class_at, stage.import_path)
    made = kind.__new__(kind)
    constructed = kind.__init__(made, **stage.arguments)
    if inspect.isawaitable(constructed):
        await constructed
    return made


def _class_at(import_path: str) -> Any:
    module, _, name = import_path.rpartition(".")
    return getattr(importlib.import_module(module), name)
