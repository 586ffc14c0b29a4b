"""Replicas that die, and streams that stand still, as the router tells of them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from router_fakes import END, PIECE, Route, Routed, ScriptedModel, failure_of, hang, within_reason

from deployments.core.errors import StageLost
from deployments.core.speech import AudioChunk, StreamEnd, StreamStart
from deployments.core.stage_watch import StageWatch
from serve_app.config import Limits
from serve_app.routing import opening
from serve_app.routing.replicas import Replicas

LOST = StageLost("no replica of 'a-gpt' runs", retry_after_s=2)


class OneReplica:
    """Of a stage, as Serve would name it; it may die and come back."""

    def __init__(self) -> None:
        self.alive = True

    def __call__(self) -> Any:
        return {f"replica-{self.alive}": lambda: True} if self.alive else {"replica-True": lambda: False}


def watched(there: Routed, model: str) -> OneReplica:
    """Have the router watch a stage of `model`."""
    one = OneReplica()
    replicas = Replicas(
        {name: {"gpt": StageWatch("a-gpt", one)} if name == model else {} for name in there.models}
    )
    router = there.router
    router._watching.cancel()
    router._health.replicas = replicas
    router._watching = asyncio.create_task(router._health.watch())
    return one


async def test_a_stream_that_stands_still_is_cut(route: Route, caplog: pytest.LogCaptureFixture) -> None:
    one = ScriptedModel("one", script=[PIECE, hang])
    there = await route(one, piece_timeout_s=0.05)
    events = await within_reason(there.events())
    assert [type(event) for event in events[:-1]] == [StreamStart, AudioChunk]
    failure = failure_of(events)
    assert (failure.status, failure.code) == (504, "stream_stalled")
    assert "made no more audio for 0.05 s" in failure.message
    assert there.idle()
    assert not [record for record in caplog.records if record.exc_info]


async def test_what_is_sent_whole_has_the_time_of_a_first_audio(route: Route) -> None:
    async def slow() -> None:
        await asyncio.sleep(0.2)

    one = ScriptedModel("one", script=[PIECE, slow, PIECE, END])
    there = await route(one, piece_timeout_s=0.05)
    assert isinstance((await within_reason(there.events(stream=False)))[-1], StreamEnd)
    assert failure_of(await within_reason(there.events())).code == "stream_stalled"


async def test_a_model_without_a_replica_goes_last_before_anybody_asked_it(route: Route) -> None:
    a, b = ScriptedModel("a", quality_rank=1), ScriptedModel("b")
    there = await route(a, b)
    one = watched(there, "a")
    assert (await there.events(model="quality"))[0].model == "a"  # type: ignore[union-attr]
    one.alive = False
    await asyncio.sleep(1)
    asked = len(a.plans)
    start = (await within_reason(there.events(model="quality")))[0]
    assert isinstance(start, StreamStart)
    assert (start.model, len(a.plans)) == ("b", asked)
    assert await there.router.status() == {"a": False, "b": True}
    one.alive = True
    await asyncio.sleep(1)
    assert (await within_reason(there.events(model="quality")))[0].model == "a"  # type: ignore[union-attr]


async def test_a_request_for_that_model_alone_waits_for_its_next_replica(route: Route) -> None:
    a = ScriptedModel("a", planning=[LOST])
    there = await route(a, ScriptedModel("b"))
    one = watched(there, "a")
    one.alive = False
    await asyncio.sleep(0.5)
    asked = asyncio.create_task(there.events(model="a"))
    await asyncio.sleep(0.5)
    assert not asked.done()
    a.planning, one.alive = [], True
    assert isinstance((await within_reason(asked))[-1], StreamEnd)


async def test_it_does_not_wait_for_ever(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "RETURN_S", 0.1)
    a = ScriptedModel("a", planning=[LOST])
    there = await route(a, ScriptedModel("b"))
    watched(there, "a").alive = False
    await asyncio.sleep(0.5)
    failure = failure_of(await within_reason(there.events(model="a")))
    assert (failure.status, failure.retry_after_s) == (503, 2)
    start = (await within_reason(there.events(model="a", fallback=True)))[0]
    assert (start.model, start.reason) == ("b", "fallback:a")  # type: ignore[union-attr]


async def test_another_replica_does_again_what_one_died_of(route: Route) -> None:
    async def dies_once() -> None:
        if len(a.plans) == 1:
            raise ActorDiedError

    a = ScriptedModel("a", planning=[dies_once])
    there = await route(a, ScriptedModel("b"))
    watched(there, "a")
    assert (await within_reason(there.events(model="a")))[0].model == "a"  # type: ignore[union-attr]
    assert len(a.plans) == 2
    assert there.router._health.is_up("a")


async def test_no_second_replica_is_given_what_killed_the_only_one(route: Route) -> None:
    a = ScriptedModel("a", planning=[ActorDiedError()])
    there = await route(a, ScriptedModel("b"))
    watched(there, "a").alive = False
    await asyncio.sleep(0.5)
    failure = failure_of(await within_reason(there.events(model="a")))
    assert "stopped while working" in failure.message
    assert len(a.plans) == 1


async def test_a_death_is_one_line_of_log(route: Route, caplog: pytest.LogCaptureFixture) -> None:
    there = await route(ScriptedModel("a", script=[PIECE, ActorDiedError()]))
    with caplog.at_level(logging.WARNING, "ray.serve"):
        failure = failure_of(await within_reason(there.events()))
    assert failure.status == 503
    told = [record for record in caplog.records if "a:" in record.getMessage()]
    assert len(told) == 1
    assert "\n" not in told[0].getMessage()
    assert not told[0].exc_info


async def test_limits_change_in_place(route: Route) -> None:
    there = await route(ScriptedModel("a"))
    limits = Limits(max_input_chars=5, max_requests=3, piece_timeout_s=7.0)
    there.router.reconfigure({"limits": limits.model_dump(mode="json")})
    assert failure_of(await there.events(text="Too long.")).code == "input_too_long"
    assert isinstance((await there.events(text="Hi."))[-1], StreamEnd)
