"""Calls to stages leave nothing running behind; stages are bound without importing what they compute with."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from deployments.core.ray_internals import bound_deployments
from deployments.core.stages import LONGEST_STREAM_S, MAX_ONGOING, Stage, answer, cancel, items, replica_name


@dataclass
class Call:
    """What a handle returns: an answer, or a stream of items; an exception among them is raised."""

    script: list[Any]
    cancelled: int = 0
    broken: bool = False
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    async def _answer(self) -> Any:
        async for item in self:
            return item
        self.waiting.set()
        return await asyncio.Event().wait()

    async def __aiter__(self) -> AsyncIterator[Any]:
        for item in self.script:
            if isinstance(item, Exception):
                raise item
            yield item

    def cancel(self) -> None:
        self.cancelled += 1
        if self.broken:
            raise RuntimeError("it never reached a replica")


async def test_an_answer() -> None:
    call = Call(["value"])
    assert await answer(call) == "value"
    assert call.cancelled == 0


async def test_an_answer_that_fails_stops_the_callee() -> None:
    call = Call([ValueError("wrong")], broken=True)
    with pytest.raises(ValueError, match="wrong"):
        await answer(call)
    assert call.cancelled == 1


async def test_whoever_stops_waiting_for_an_answer_stops_the_callee() -> None:
    call = Call([])
    task = asyncio.create_task(answer(call))
    await call.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.cancelled == 1


async def test_items_to_the_end() -> None:
    call = Call([1, 2, 3])
    assert [item async for item in items(call)] == [1, 2, 3]
    assert call.cancelled == 1


async def test_items_that_end_with_an_error() -> None:
    call = Call([1, ValueError("wrong")], broken=True)
    stream = items(call)
    assert await anext(stream) == 1
    with pytest.raises(ValueError, match="wrong"):
        await anext(stream)
    assert call.cancelled == 1


async def test_items_that_nobody_wants_any_more() -> None:
    call = Call([1, 2, 3])
    stream = items(call)
    assert await anext(stream) == 1
    await stream.aclose()
    assert call.cancelled == 1


async def test_items_whose_reader_is_cancelled() -> None:
    call = Call([1])
    reading = asyncio.Event()

    async def read() -> None:
        async for _ in items(call):
            reading.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(read())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    for _ in range(10):  # `async for` leaves a generator to the event loop
        await asyncio.sleep(0)
    assert call.cancelled == 1


def test_a_call_that_cannot_be_cancelled_is_no_error() -> None:
    call = Call([], broken=True)
    cancel(call)
    assert call.cancelled == 1


def test_a_stage_is_bound_without_its_module() -> None:
    stage = Stage("stages_of_tomorrow.deployment.Engine", {"device": "cpu"}, num_cpus=0.25)
    (deployment,) = bound_deployments(stage.bind("model-engine")).values()
    assert deployment.name == "model-engine"
    assert deployment.max_ongoing_requests == MAX_ONGOING
    assert deployment.ray_actor_options == {"num_cpus": 0.25}
    assert dict(deployment.init_kwargs) == {"device": "cpu"}
    assert deployment._deployment_config.graceful_shutdown_timeout_s == LONGEST_STREAM_S
    assert "stages_of_tomorrow" not in sys.modules


def test_outside_of_serve_a_replica_is_called_by_its_process() -> None:
    assert replica_name() == str(os.getpid())
