"""A call to a stage without a replica fails at once, and only then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from deployments.core import stage_watch
from deployments.core.errors import StageLost
from deployments.core.stage_watch import StageWatch, WatchedHandle


class Stage:
    """Replicas by name, and whether each lives; `named` are those that Serve would send a call to."""

    def __init__(self, **lives: bool) -> None:
        self.lives = lives
        self.named: set[str] | None = set(lives)
        self.watch = StageWatch("gpt", self.replicas)

    def replicas(self) -> Any:
        if self.named is None:
            return None
        return {name: (lambda name=name: self.lives[name]) for name in self.named}

    def look(self) -> bool:
        self.watch.look()
        return self.watch.lost


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_watch, "GRACE_S", 0.01)


async def test_it_is_lost_when_the_last_replica_died_and_found_when_another_runs() -> None:
    stage = Stage(a=True, b=True)
    assert not stage.look()
    stage.lives["a"] = False
    assert not stage.look()
    assert stage.watch.running == 1
    stage.lives["b"] = False
    assert stage.look()
    stage.lives["c"], stage.named = True, {"c"}
    assert not stage.look()
    stage.lives["c"] = False
    assert stage.look()


async def test_a_replica_that_serve_has_struck_off_the_list_before_anybody_looked_died_all_the_same() -> None:
    stage = Stage(a=True)
    stage.look()
    stage.lives["a"], stage.named = False, set()
    assert stage.look()


async def test_one_that_was_stopped_in_good_order_is_not_missed() -> None:
    stage = Stage(a=True)
    stage.look()
    stage.named = set()
    assert not stage.look()
    stage.lives["a"] = False  # it ends later
    assert not stage.look()


async def test_nothing_is_lost_before_anything_was_there() -> None:
    stage = Stage()
    assert not stage.look()
    stage.named = None
    assert not stage.look()


async def test_calls_that_wait_fail_when_the_stage_is_lost_and_new_ones_at_once() -> None:
    stage = Stage(a=True)
    stage.look()
    waiting = asyncio.create_task(stage.watch.before_loss(asyncio.Event().wait()))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    stage.lives["a"] = False
    stage.look()
    began_s = time.monotonic()
    for call in (waiting, stage.watch.before_loss(asyncio.Event().wait())):
        with pytest.raises(StageLost, match="'gpt'"):
            await call
    assert time.monotonic() - began_s < 1


async def test_a_call_that_knows_why_it_failed_says_so_itself() -> None:
    stage = Stage(a=True)
    stage.look()
    stage.lives["a"] = False
    stage.look()

    async def dies() -> None:
        raise ConnectionError("the replica died of SIGSEGV")

    with pytest.raises(ConnectionError, match="SIGSEGV"):
        await stage.watch.before_loss(dies())


async def test_who_stops_waiting_stops_the_work() -> None:
    stage, ended = Stage(a=True), asyncio.Event()

    async def works() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(stage.watch.before_loss(works()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


class Call:
    def __init__(self, items: list[int], hang: bool) -> None:
        self.items, self.hang, self.cancelled = items, hang, 0

    def __await__(self) -> Generator[Any, None, int]:
        return self._first().__await__()

    async def _first(self) -> int:
        async for item in self:
            return item
        raise AssertionError

    async def __aiter__(self) -> AsyncIterator[int]:
        for item in self.items:
            yield item
        if self.hang:
            await asyncio.Event().wait()

    def cancel(self) -> None:
        self.cancelled += 1


class Handle:
    """As Serve's: options and methods give further handles."""

    deployment_name = "gpt"

    def __init__(self, call: Call) -> None:
        self.call = call

    def options(self, **_: Any) -> Handle:
        return self

    def __getattr__(self, name: str) -> Handle:
        return self

    def remote(self, *_: Any, **__: Any) -> Call:
        return self.call


@pytest.mark.parametrize("hang", [False, True])
async def test_a_handle_is_used_as_before(hang: bool) -> None:
    call, stage = Call([1, 2], hang), Stage(a=True)
    handle = WatchedHandle(Handle(call), stage.watch)  # type: ignore[arg-type]
    assert await handle.run.remote("x") == 1
    stream = handle.options(stream=True).run.remote("x")
    taken = []
    with pytest.raises(StageLost) if hang else pytest.MonkeyPatch.context():  # type: ignore[attr-defined]
        async for item in stream:
            taken.append(item)
            if hang and item == 2:
                stage.look()
                stage.lives["a"] = False
                stage.look()
    assert taken == [1, 2]
    stream.cancel()
    assert call.cancelled == 1
