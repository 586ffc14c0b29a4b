"""Models that may have no replica at rest: who sleeps is not down, is woken once, and is passed over or waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from router_fakes import ScriptedModel, failure_of, hang, until, within_reason

from deployments.core.errors import DeadlineExceeded, Unavailable
from deployments.core.speech import AudioChunk, SpeechRequest, StreamStart
from serve_app.routing import sleep
from serve_app.routing.decision import Load
from serve_app.routing.health import HealthMonitor
from serve_app.routing.sleep import LATE, Sleepers

COLD_S = 60.0


class Replicas:
    """Of a model, which starts one as soon as it is called where `starts` is set."""

    def __init__(self, count: int = 0, starts: bool = True) -> None:
        self.count = count
        self.starts = starts
        self.calls = 0

    async def start(self) -> None:
        self.calls += 1
        await asyncio.sleep(0.01)
        if self.starts:
            self.count = 1
        else:
            await hang()


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sleep, "LOOK_EVERY_S", 0.005)


def sleeper(replicas: Replicas, clock: Callable[[], float]) -> Sleepers:
    model = ScriptedModel("big", readiness=[replicas.start])
    return Sleepers({"big": model}, {"big": COLD_S}, lambda name: replicas.count == 0, clock)  # type: ignore[dict-item]


def test_only_what_may_have_no_replica_sleeps() -> None:
    one = Sleepers({}, {"big": COLD_S}, lambda name: True)
    assert one.asleep("big")
    assert not one.asleep("small")
    assert not Sleepers({}, {"big": COLD_S}, lambda name: False).asleep("big")


async def test_it_is_woken_once_and_its_start_is_measured() -> None:
    replicas, clock = Replicas(), Clock()
    one = sleeper(replicas, clock)
    assert one.starts_in_s("big") == COLD_S
    for _ in range(3):
        one.wake("big")
    clock.now_s += 25
    assert one.starts_in_s("big") == COLD_S - 25
    await within_reason(until_awake(one))
    await until(lambda: not one._waking)
    assert replicas.calls == 1
    assert one.starts_in_s("big") == 25.0
    replicas.count = 0
    assert one.asleep("big")
    assert one.starts_in_s("big") == 25.0


async def until_awake(one: Sleepers) -> None:
    await one.awake("big")


async def test_what_does_not_come_in_time_is_asleep_no_more() -> None:
    """Then it is down, as any model that does not answer, until it has a replica."""
    replicas, clock = Replicas(starts=False), Clock()
    one = sleeper(replicas, clock)
    one.wake("big")
    clock.now_s += LATE * COLD_S + 1
    assert not one.asleep("big")
    await until(lambda: not one._waking)
    assert not one.asleep("big")
    replicas.count = 1
    assert not one.asleep("big")
    replicas.count = 0
    assert one.asleep("big")


def test_who_cannot_wait_so_long_is_told_when_to_come_back() -> None:
    one = sleeper(Replicas(), Clock())
    one.refuse_hopeless("big", COLD_S + 1)
    with pytest.raises(
        Unavailable, match="asleep and is being started; it will be there in about 60 s"
    ) as caught:
        one.refuse_hopeless("big", 10.0)
    assert (caught.value.code, caught.value.retry_after_s) == ("model_asleep", COLD_S)


async def test_nobody_wakes_it_to_ask_whether_it_is_there() -> None:
    model = ScriptedModel("big", readiness=[hang])
    health = HealthMonitor({"big": model}, asleep=lambda name: True)  # type: ignore[dict-item]
    assert await within_reason(health.status()) == {"big": True}
    health.failed("big", DeadlineExceeded("late"), waited_s=60.0, allowed_s=12.0)
    assert health.is_up("big")


class Asleep:
    """A router of `small`, which is awake, and `big`, which is better and sleeps."""

    def __init__(self, routed: Any, replicas: Replicas) -> None:
        self.routed, self.replicas = routed, replicas

    async def model(self, **fields: Any) -> str:
        events = await within_reason(self.routed.events(**fields))
        assert isinstance(events[0], StreamStart), events
        assert any(isinstance(event, AudioChunk) for event in events)
        return events[0].model

    def load(self) -> Load:
        return self.routed.router._loads.load("big")


@pytest.fixture
async def asleep(route: Any) -> Asleep:
    replicas = Replicas()

    async def waits_for_a_replica() -> None:
        await replicas.start()

    big = ScriptedModel("big", planning=[waits_for_a_replica], readiness=[replicas.start], quality_rank=9)
    routed = await route(ScriptedModel("small"), big)
    router = routed.router
    pipelines = router._pipelines
    sleepers = Sleepers(pipelines, {"big": COLD_S}, lambda name: replicas.count == 0)
    router._sleepers = sleepers
    router._health._asleep = sleepers.asleep
    router._loads._sleepers = sleepers
    object.__setattr__(router._opener, "sleepers", sleepers)
    return Asleep(routed, replicas)


async def test_another_model_answers_meanwhile_and_it_is_woken_for_the_next(asleep: Asleep) -> None:
    assert asleep.load().state == "asleep"
    assert await asleep.model(model="quality") == "small"
    await until(lambda: asleep.replicas.count == 1)
    await until(lambda: not asleep.routed.router._sleepers._waking)
    assert asleep.load().state == "up"
    assert await asleep.model(model="quality") == "big"


async def test_who_wants_the_earliest_sound_does_not_wake_it(asleep: Asleep) -> None:
    assert await asleep.model(model="fast") == "small"
    assert await asleep.model(model="auto", latency_budget_ms=500.0) == "small"
    await asyncio.sleep(0.05)
    assert asleep.replicas.calls == 0


async def test_who_names_it_waits(asleep: Asleep) -> None:
    asleep.routed.router._sleepers._cold_start_s["big"] = 5.0
    assert await asleep.model(model="big") == "big"


async def test_who_names_it_and_has_no_time_is_refused_at_once_and_it_is_woken(asleep: Asleep) -> None:
    asleep.routed.router._sleepers._cold_start_s["big"] = 1000.0
    failure = failure_of(await within_reason(asleep.routed.events(model="big")))
    assert (failure.status, failure.code) == (503, "model_asleep")
    assert failure.retry_after_s == pytest.approx(1000, abs=5)
    await until(lambda: asleep.replicas.count == 1)


async def test_who_names_it_and_lets_another_speak_is_not_kept_waiting(asleep: Asleep) -> None:
    assert await asleep.model(model="big", fallback=True) == "small"
    await until(lambda: asleep.replicas.count == 1)


async def test_what_would_become_of_a_request_wakes_nobody(asleep: Asleep) -> None:
    decision = await asleep.routed.router.route(SpeechRequest("id", "Hello.", model="quality"))
    assert [each.model for each in decision.choices] == ["small", "big"]
    assert decision.wake == "big"
    assert asleep.replicas.calls == 0
