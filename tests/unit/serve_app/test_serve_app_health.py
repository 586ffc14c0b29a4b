"""Busy is not down, down is avoided at once, and who answers again gets requests again."""

from __future__ import annotations

import asyncio

import pytest
from router_fakes import END, PIECE, Route, ScriptedModel, failure_of, hang, until, within_reason

from deployments.core.errors import DeadlineExceeded, InvalidRequest, Overloaded, SpeechError, Unavailable
from deployments.core.speech import SpeechRequest, StreamEnd, StreamStart
from serve_app.routing import health, opening
from serve_app.routing.circuit import State
from serve_app.routing.health import BUSY_S, FAULTS_IN_A_ROW, HealthMonitor


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def monitor(model: ScriptedModel) -> tuple[HealthMonitor, Clock]:
    clock = Clock()
    return HealthMonitor({model.name: model}, clock), clock  # type: ignore[dict-item]


def failed(one: HealthMonitor, failure: SpeechError, waited_s: float = 0.0) -> bool:
    """Whether the model is avoided after `failure`."""
    one.failed("a", failure, waited_s=waited_s, allowed_s=12.0)
    return not one.is_up("a")


@pytest.mark.parametrize(
    ("failure", "waited_s", "avoided"),
    [
        (Unavailable("gone"), 0.0, True),
        (Unavailable("the store", code="voice_store_busy"), 0.0, False),
        (DeadlineExceeded("late"), 12.0, True),
        (DeadlineExceeded("late, but the client allowed no more"), 11.0, False),
        (Overloaded("full"), 20.0, False),
        (InvalidRequest("no"), 20.0, False),
        (SpeechError("a bug"), 0.0, False),
    ],
    ids=str,
)
async def test_what_tells_that_a_model_is_down(failure: SpeechError, waited_s: float, avoided: bool) -> None:
    one, _ = monitor(ScriptedModel("a"))
    assert failed(one, failure, waited_s) == avoided


async def test_errors_in_a_row_are_the_models_own() -> None:
    one, _ = monitor(ScriptedModel("a"))
    for _ in range(2):
        assert [failed(one, SpeechError("a bug")) for _ in range(FAULTS_IN_A_ROW - 1)] == [False, False]
        one.answered("a")
    assert [failed(one, SpeechError("a bug")) for _ in range(FAULTS_IN_A_ROW)] == [False, False, True]


async def test_a_model_that_spoke_to_others_meanwhile_is_busy() -> None:
    one, clock = monitor(ScriptedModel("a"))
    clock.now_s += 20
    one.heard("a")
    clock.now_s += 5
    assert not failed(one, DeadlineExceeded("late"), waited_s=20.0)
    clock.now_s += 20
    assert failed(one, DeadlineExceeded("late"), waited_s=20.0)


async def test_a_busy_model_is_ready_though_its_stages_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "READY_TIMEOUT_S", 0.02)
    one, clock = monitor(ScriptedModel("a", readiness=[hang]))
    one.heard("a")
    clock.now_s += BUSY_S - 1
    assert await one.status() == {"a": True}
    clock.now_s += 1
    assert await one.status() == {"a": False}
    assert not one.is_up("a")
    one.heard("a")  # of what is left in some buffer: that does not close the circuit
    assert await one.status() == {"a": False}
    one.answered("a")
    assert await one.status() == {"a": True}


async def test_audio_that_comes_while_a_model_is_asked_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "READY_TIMEOUT_S", 0.02)
    one, _ = monitor(ScriptedModel("a"))

    async def speaks_but_does_not_answer() -> None:
        one.heard("a")
        await hang()

    one._pipelines["a"].readiness = [speaks_but_does_not_answer]  # type: ignore[attr-defined]
    assert await one.answers("a")
    assert one.is_up("a")


async def test_probes_find_out_that_it_is_back_and_one_request_tries_it(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = ScriptedModel("bad", script=[Unavailable("gone")], readiness=[RuntimeError("gone")])
    there = await route(bad, ScriptedModel("good"), default_model="bad")
    monkeypatch.setattr(there.router._health._circuits["bad"], "_first_interval_s", 0.01)

    async def model() -> str:
        start = (await within_reason(there.events()))[0]
        assert isinstance(start, StreamStart)
        return start.model

    assert await model() == "good"
    assert len(bad.plans) == 1
    assert [await model() for _ in range(3)] == ["good"] * 3
    assert len(bad.plans) == 1  # it was avoided after the first failure
    bad.readiness.clear()
    await until(lambda: there.router._health.state("bad") is State.HALF_OPEN)
    going = asyncio.Event()
    bad.script = [going.wait, PIECE, END]
    trial = asyncio.create_task(model())
    await until(lambda: len(bad.plans) == 2)
    assert await model() == "good"  # one at a time
    going.set()
    assert await within_reason(trial) == "bad"
    assert there.router._health.state("bad") is State.CLOSED
    assert await model() == "bad"


async def test_a_trial_whose_client_leaves_leaves_room_for_the_next(route: Route) -> None:
    slow = ScriptedModel("slow", script=[hang])
    there = await route(slow, ScriptedModel("other"), default_model="slow")
    breaker = there.router._health._circuits["slow"]
    breaker.failed()
    breaker.probe_answered()
    task = asyncio.create_task(there.events())
    await until(lambda: slow.running == 1)
    assert not breaker.lets_in
    task.cancel()
    await asyncio.wait([task])
    assert breaker.lets_in


@pytest.mark.parametrize("where", ["planning", "script"])
async def test_who_waits_for_a_model_that_is_gone_moves_on(
    route: Route, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """As in a queue before a replica that died: nothing fails, and nothing comes."""
    monkeypatch.setattr(opening, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(health, "READY_TIMEOUT_S", 0.02)
    gone = ScriptedModel("gone", readiness=[hang])
    setattr(gone, where, [hang])
    there = await route(gone, ScriptedModel("other"), default_model="gone", first_audio_timeout_s=60)
    start = (await within_reason(there.events()))[0]
    assert isinstance(start, StreamStart)
    assert (start.model, start.reason) == ("other", "fallback:gone")
    assert not there.router._health.is_up("gone")


async def test_who_waits_for_a_model_that_is_there_goes_on_waiting(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LOOK_EVERY_S", 0.01)
    looks = []

    async def looked() -> None:
        looks.append(1)

    async def slowly() -> None:
        await until(lambda: len(looks) > 3)

    slow = ScriptedModel("slow", readiness=[looked], script=[slowly, PIECE, END])
    there = await route(slow, ScriptedModel("other"), default_model="slow")
    start = (await within_reason(there.events()))[0]
    assert isinstance(start, StreamStart)
    assert start.model == "slow"


async def test_nobody_looks_after_the_only_model_that_may_answer(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LOOK_EVERY_S", 0.01)
    slow = ScriptedModel(
        "slow", readiness=[RuntimeError("restarting")], script=[lambda: asyncio.sleep(0.1), PIECE, END]
    )
    there = await route(slow, ScriptedModel("other"))
    events = await within_reason(there.events(model="slow"))
    assert isinstance(events[-1], StreamEnd)


async def test_the_shortest_wait_is_told_where_all_are_full(route: Route) -> None:
    models = [
        ScriptedModel(name, planning=[Overloaded(f"{name} is full", retry_after_s=wait_s)])
        for name, wait_s in (("a", 9.0), ("b", 3.0), ("c", 7.0))
    ]
    there = await route(*models)
    failure = failure_of(await there.events())
    assert (failure.status, failure.retry_after_s, failure.message) == (429, 3.0, "b is full")


async def test_a_model_that_dies_while_it_speaks_is_avoided_at_once(route: Route) -> None:
    dying = ScriptedModel("dying", script=[PIECE, Unavailable("gone")])
    there = await route(dying, ScriptedModel("other"), default_model="dying")
    assert failure_of(await there.events()).status == 503
    assert isinstance((await there.events())[0], StreamStart)
    assert len(dying.plans) == 1


async def test_a_dry_run_asks_no_model(route: Route) -> None:
    one, two = ScriptedModel("one"), ScriptedModel("two", languages=("zh",))
    there = await route(one, two)
    decision = await there.router.route(SpeechRequest("the-id", "Hello.", language="en"))
    assert not isinstance(decision, SpeechError)
    assert [(c.model, c.reason, c.objections) for c in decision.candidates] == [
        ("one", "only-suitable", ()),
        ("two", "", ("does not speak 'en', but zh",)),
    ]
    nobody = await there.router.route(SpeechRequest("the-id", "Hello.", reference_audio=b"RIFF"))
    assert not isinstance(nobody, SpeechError)
    assert nobody.problem is not None
    assert "one cannot clone a voice" in nobody.problem.message
    assert isinstance(await there.router.route(SpeechRequest("the-id", "Hello.", model="x")), SpeechError)
    assert not one.plans
    assert not there.counted.codes
