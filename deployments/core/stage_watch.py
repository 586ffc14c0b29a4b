"""Calls to a stage fail at once where no replica of it runs; Serve alone lets them wait, without end or a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from deployments.core.errors import StageLost
from deployments.core.ray_internals import replicas_of

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

T = TypeVar("T")

LOOK_EVERY_S = 0.25
GRACE_S = 0.5  # in which a call tells by itself of what its replica died
Replicas = Mapping[str, Callable[[], bool]]
"""By name, the replicas that calls may go to, each with a look whether its process lives."""


class StageWatch:
    """Whether a stage has a running replica. Used from one event loop, where somebody calls `look` now and then.

    Replicas that were stopped in good order, as by autoscaling, are not missed: a call waits for the next one.
    """

    def __init__(self, name: str, replicas: Callable[[], Replicas | None]) -> None:
        """`replicas`: None as long as none are known."""
        self.name = name
        self._replicas = replicas
        self._seen: Replicas = {}
        self._died = False
        self._lost: asyncio.Future[None] | None = None

    @property
    def lost(self) -> bool:
        return self._lost is not None and self._lost.done()

    @property
    def running(self) -> int:
        """Replicas whose process lives, as of the last look."""
        return sum(lives() for lives in self._seen.values())

    def look(self) -> None:
        """Take note of what has died since the last look."""
        named = self._replicas()
        if named is None:
            return
        self._died = self._died or any(not lives() for lives in {**self._seen, **named}.values())
        self._seen = {name: lives for name, lives in named.items() if lives()}
        if self._seen:
            self._died = False
            if self.lost:
                self._lost = None
        elif self._died and not self._loss.done():
            self._loss.set_result(None)

    async def before_loss(self, work: Awaitable[T]) -> T:
        """The result of `work`, a call to the stage. Raises StageLost where that waits and no replica is there."""
        task = asyncio.ensure_future(work)
        either: set[asyncio.Future[Any]] = {task, self._loss}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=GRACE_S)
            if task.done():
                return task.result()
            raise StageLost(
                f"no replica of {self.name!r} runs: it died and is being started again; try again",
                retry_after_s=2,
            )
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # asked for, so that nobody is told of one that nobody waits for

    @property
    def _loss(self) -> asyncio.Future[None]:
        if self._lost is None:
            self._lost = asyncio.get_running_loop().create_future()
        return self._lost


class WatchedHandle:
    """A handle of Serve whose calls end with StageLost when the stage is lost. To be used like the handle itself; but
    Serve does not know its responses, so they cannot be arguments of further calls."""

    def __init__(self, handle: DeploymentHandle[Any], watch: StageWatch | None = None) -> None:
        # `options` makes Serve tell this very handle, and all that come from it, which replicas there are.
        self._handle = handle.options()
        self.watch = watch or StageWatch(handle.deployment_name, lambda: replicas_of(self._handle))

    def options(self, **options: Any) -> WatchedHandle:
        return WatchedHandle(self._handle.options(**options), self.watch)

    def __getattr__(self, method: str) -> _WatchedMethod:
        if method.startswith("_"):  # of the protocols of copying and pickling, for instance
            raise AttributeError(method)
        return _WatchedMethod(getattr(self._handle, method), self.watch)


class _WatchedMethod:
    def __init__(self, method: Any, watch: StageWatch) -> None:
        self._method = method
        self._watch = watch

    def remote(self, *arguments: Any, **named: Any) -> WatchedCall[Any]:
        return WatchedCall(self._method.remote(*arguments, **named), self._watch)


class WatchedCall(Generic[T]):
    """A call under way: an answer to await, or a stream to iterate over."""

    def __init__(self, call: Any, watch: StageWatch) -> None:
        self._call = call
        self._watch = watch
        self._items: AsyncIterator[T] | None = None

    def __await__(self) -> Generator[Any, None, T]:
        return self._watch.before_loss(_awaited(self._call)).__await__()

    def __aiter__(self) -> AsyncIterator[T]:
        self._items = aiter(self._call)
        return self

    async def __anext__(self) -> T:
        assert self._items is not None
        return await self._watch.before_loss(_next(self._items))

    def cancel(self) -> None:
        self._call.cancel()


async def _awaited(call: Awaitable[T]) -> T:
    return await call


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)
