"""Stages as Serve deployments: bound by import path, called so that nothing is left running behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from ray import serve
from ray.exceptions import RayActorError
from ray.serve import Application
from ray.serve.exceptions import RayServeException

from deployments.core.ray_internals import bind_by_path

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# Engines order what waits by deadline; Serve's own queue, where the rest waits, is first come first served. So this
# bound is only there for floods that would fill memory.
MAX_ONGOING = 1000
LONGEST_STREAM_S = 310.0  # streams end before a replica that is replaced; above every `request_timeout_s`
HEALTH_PERIOD_S = 2.0
# A process that is stopped or swapped out is given up after three of these: longer than any pause of a busy machine.
HEALTH_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A deployment to be: the class behind `import_path` ("package.module.Class") with its arguments.

    The process that builds the graph does not import the class, nor what it computes with.
    """

    import_path: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    num_cpus: float = 0.5

    def bind(self, name: str) -> Application:
        """As the deployment `name`, whose options an operator may override in the configuration file."""
        deployment = serve.deployment(
            name=name,
            max_ongoing_requests=MAX_ONGOING,
            ray_actor_options={"num_cpus": self.num_cpus},
            health_check_period_s=HEALTH_PERIOD_S,
            health_check_timeout_s=HEALTH_TIMEOUT_S,
            graceful_shutdown_timeout_s=LONGEST_STREAM_S,
            max_surge_percent=100,
        )
        return bind_by_path(deployment, self.import_path, self.arguments)


def replica_name() -> str:
    """What this process is called in metrics: Serve's name of the replica, or the process id outside of Serve."""
    try:
        return str(serve.get_replica_context().replica_id.unique_id)
    except RayServeException:
        return str(os.getpid())


class Response(Awaitable[T_co], Protocol[T_co]):
    """What a deployment handle returns."""

    def cancel(self) -> None: ...


class Stream(Protocol[T_co]):
    """What a handle with `stream=True` returns."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    def cancel(self) -> None: ...


async def answer(response: Response[T]) -> T:
    """The result of a call; whoever stops waiting for it stops the callee as well."""
    try:
        return await response
    except BaseException:
        cancel(response)
        raise


async def answer_again(response: Response[T], call: Callable[[], Response[T]]) -> T:
    """As `answer`. Where the replica dies over it, what another one says to the same call, which `call` makes: for work
    that changes nothing but its result."""
    try:
        return await answer(response)
    except RayActorError:
        return await answer(call())


async def items(stream: Stream[T]) -> AsyncGenerator[T, None]:
    """The items of a streaming call, which is cancelled however the generator ends."""
    try:
        async for item in stream:
            yield item
    finally:
        cancel(stream)


def cancel(call: Response[T] | Stream[T]) -> None:
    # A call that never reached a replica raises from `cancel` what it failed with; that has been reported already.
    with contextlib.suppress(Exception):
        call.cancel()
