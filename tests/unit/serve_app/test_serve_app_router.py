"""One request through the router: deadlines, errors, what is counted, and that models keep out of each other's way."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from router_fakes import (
    END,
    LONG_S,
    PIECE,
    Route,
    ScriptedModel,
    Step,
    failure_of,
    hang,
    until,
    within_reason,
)

from deployments.core.deadline import Deadline
from deployments.core.errors import InvalidRequest, Overloaded, Unavailable
from deployments.core.speech import (
    AudioChunk,
    SpeechRequest,
    StreamEnd,
    StreamFailed,
    StreamStart,
)
from serve_app.routing import health


async def test_a_request(route: Route) -> None:
    there = await route(ScriptedModel("one"))
    events = await there.events(voice="one-voice", speed=1.5)
    assert [type(event) for event in events] == [StreamStart, AudioChunk, AudioChunk, StreamEnd]
    assert (events[0].model, events[0].voice, events[0].reason) == ("one", "one-voice", "only-suitable")  # type: ignore[union-attr]
    assert there.counted.codes == [("one", 200)]
    assert there.counted.reasons == []
    assert there.idle()


async def test_the_model_gets_clean_text_unless_the_request_says_otherwise(route: Route) -> None:
    model = ScriptedModel("one")
    there = await route(model)
    await there.events(text="**Hello** <b>there</b>")
    await there.events(text="**Hello** <b>there</b>", text_cleaning=False)
    assert [request.text for request in model.plans] == ["Hello there", "**Hello** <b>there</b>"]
    error = failure_of(await there.events(text="<p></p>"))
    assert (error.status, error.code, error.param) == (400, "input_not_speakable", "input")


# Models keep out of each other's way


@pytest.mark.parametrize(
    "fault", [hang, RuntimeError("broken"), Unavailable("down")], ids=["hang", "raise", "down"]
)
async def test_a_model_that_does_not_answer_concerns_no_other(
    route: Route, monkeypatch: pytest.MonkeyPatch, fault: Step
) -> None:
    monkeypatch.setattr(health, "READY_TIMEOUT_S", 0.05)
    bad = ScriptedModel("bad", planning=[fault], readiness=[fault], script=[fault])
    there = await route(bad, ScriptedModel("good"), max_requests=1)
    asked = asyncio.create_task(there.events(model="bad", fallback=False))
    await until(lambda: bool(bad.plans))
    for _ in range(3):
        events = await within_reason(there.events(model="good", voice="good-voice"))
        assert isinstance(events[-1], StreamEnd)
    catalogue = await within_reason(there.router.catalogue(voices=False))
    assert [card.name for card in catalogue.models] == ["bad", "good"]
    assert [voice.id for voice in (await within_reason(there.router.catalogue())).voices] == [
        "bad-voice",
        "good-voice",
    ]
    assert await within_reason(there.router.status()) == {"bad": False, "good": True}
    asked.cancel()
    await asyncio.wait([asked])


async def test_a_full_model_refuses_for_itself_alone(route: Route) -> None:
    busy = ScriptedModel("busy", script=[PIECE, hang])
    there = await route(busy, ScriptedModel("free"), max_requests=1, retry_after_s=1.5)
    held = asyncio.create_task(there.events(model="busy"))
    await until(lambda: busy.running == 1)
    refused = failure_of(await within_reason(there.events(model="busy", fallback=False)))
    assert isinstance(refused, Overloaded)
    assert refused.retry_after_s == 1.5
    assert isinstance((await within_reason(there.events(model="free")))[-1], StreamEnd)
    assert isinstance(failure_of(await within_reason(there.events(model="busy"))), Overloaded)
    start = (await within_reason(there.events(model="busy", fallback=True)))[0]
    assert isinstance(start, StreamStart)
    assert (start.model, start.reason) == ("free", "fallback:busy")
    held.cancel()
    await asyncio.wait([held])
    assert there.idle()


# The deadline


@pytest.mark.parametrize(
    "model",
    [ScriptedModel("one", planning=[hang]), ScriptedModel("one", script=[hang, END])],
    ids=["planning", "first audio"],
)
@pytest.mark.parametrize(("server_s", "client_s"), [(0.05, None), (60.0, 0.05), (0.05, 60.0)])
async def test_audio_that_does_not_come_in_time_is_given_up(
    route: Route, model: ScriptedModel, server_s: float, client_s: float | None
) -> None:
    there = await route(model, first_audio_timeout_s=server_s)
    own = {} if client_s is None else {"deadline": Deadline.after(client_s)}
    error = failure_of(await within_reason(there.events(**own)))
    assert (error.status, error.code, error.type) == (504, "deadline_exceeded", "server_error")
    assert error.retry_after_s
    assert "'one'" in error.message
    assert there.counted.codes == [("one", 504)]
    assert there.counted.reasons == []
    assert there.idle()


async def test_the_deadline_travels_with_the_request(route: Route) -> None:
    one = ScriptedModel("one")
    there = await route(one, first_audio_timeout_s=100.0)
    for given_s, expected_s in ((None, 100), (30.0, 30), (1000.0, 100)):
        own = {} if given_s is None else {"deadline": Deadline.after(given_s)}
        await there.events(**own)
        assert one.plans[-1].deadline.left_s == pytest.approx(expected_s, abs=LONG_S)


@pytest.mark.slow
async def test_after_the_first_audio_there_is_no_hurry(route: Route) -> None:
    async def late() -> None:
        await asyncio.sleep(0.3)

    there = await route(ScriptedModel("one", script=[PIECE, late, PIECE, END]), first_audio_timeout_s=0.25)
    events = await there.events()
    assert isinstance(events[-1], StreamEnd), failure_of(events)


async def test_time_is_left_for_who_stands_in(route: Route) -> None:
    first, second = ScriptedModel("first", script=[hang]), ScriptedModel("second")
    there = await route(first, second, first_audio_timeout_s=0.2)
    for _ in range(2):
        events = await there.events(model="first", fallback=True)
        assert (events[0].model, events[0].reason) == ("second", "fallback:first")  # type: ignore[union-attr]
    assert there.counted.codes == [("second", 200)] * 2
    assert len(first.plans) == 1  # the second request did not wait for it again


async def test_nobody_is_blamed_for_time_that_another_took(route: Route) -> None:
    models = [ScriptedModel(name, script=[hang]) for name in ("first", "second")]
    there = await route(*models, first_audio_timeout_s=60.0)
    for _ in range(3):
        error = failure_of(await there.events(model="first", fallback=True, deadline=Deadline.after(0.4)))
        assert (error.status, "'second'" in error.message) == (504, True)
    assert all(there.router._health.is_up(name) for name in there.models)


# Errors


ERRORS = [
    (RuntimeError("secret"), 500, "failed on this request"),
    (RayTaskError("stage", "secret", ValueError("secret")), 500, "failed on this request"),
    (RayTaskError("stage", "trace", InvalidRequest("no", param="voice")), 400, "no"),
    (ActorDiedError(), 503, "stopped while working"),
    (RayServeException("secret"), 503, "stopped while working"),
    (BackPressureError(1, 2), 429, "is full"),
    (Unavailable("down", retry_after_s=3), 503, "down"),
]


@pytest.mark.parametrize(("error", "status", "said"), ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("place", ["planning", "before the first audio", "after it"])
async def test_every_failure_is_answered_and_counted_with_its_status(
    route: Route, place: str, error: Exception, status: int, said: str
) -> None:
    model = ScriptedModel("one")
    if place == "planning":
        model.planning = [error]
    else:
        model.script = [error] if place.startswith("before") else [PIECE, error]
    there = await route(model)
    events = await there.events()
    assert (failure_of(events).status, len(events)) == (status, 3 if place == "after it" else 1)
    assert said in failure_of(events).message
    assert "secret" not in failure_of(events).message
    assert there.counted.codes == [("one", status)]
    assert there.counted.reasons == []
    assert there.idle()


async def test_what_models_are_doing_is_told_without_asking_a_stage(route: Route) -> None:
    there = await route(ScriptedModel("one"), ScriptedModel("two", [Unavailable("down")]))
    await there.events(model="one")
    await there.events(model="two")
    one, two = await there.router.now()
    assert (one.model, one.state, one.requests) == ("one", "up", 0)
    assert one.first_audio_s is not None
    assert one.rtf is not None
    assert (two.model, two.state, two.first_audio_s) == ("two", "down", None)


async def test_a_failure_before_any_model_was_chosen_is_counted_too(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = await route(ScriptedModel("one"))

    def broken(name: str) -> None:
        raise OSError("secret")

    monkeypatch.setattr(there.router._voices, "find_in_memory", broken)
    assert failure_of(await there.events(voice="somebody")).status == 500
    assert failure_of(await there.events("?!")).status == 400
    assert failure_of(await there.events("?!", model="one")).status == 400
    assert failure_of(await there.events(model="no such model")).status == 404
    assert there.counted.codes == [("auto", 500), ("auto", 400), ("one", 400), ("unknown", 404)]
    assert there.counted.reasons == []


@pytest.mark.parametrize("script", [[], [PIECE], [PIECE, PIECE]])
async def test_a_stream_without_an_end_was_cut(route: Route, script: list[Step]) -> None:
    there = await route(ScriptedModel("one", script=script))
    assert failure_of(await there.events()).status == 500
    assert there.counted.codes == [("one", 500)]
    assert there.counted.reasons == []


async def test_an_end_without_audio_is_an_end(route: Route) -> None:
    there = await route(ScriptedModel("one", script=[StreamEnd(0.0)]))
    assert [type(event) for event in await there.events()] == [StreamStart, StreamEnd]
    assert (there.counted.codes, there.counted.reasons) == ([("one", 200)], [])


# Leaving


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 4])
async def test_a_client_that_leaves_is_counted_as_such(route: Route, taken: int) -> None:
    there = await route(ScriptedModel("one", clean_up_s=0.01))
    stream = there.router.stream(SpeechRequest("the-id", "Hello."))
    for _ in range(taken):
        await anext(stream)
    await stream.aclose()
    assert there.idle()  # at once: nothing is left to the garbage collector
    assert there.counted.codes == ([("one", 200)] if taken == 4 else [])
    assert there.counted.reasons == ([] if taken in (0, 4) else ["client-left"])


@pytest.mark.parametrize("where", ["planning", "script"])
async def test_a_client_that_leaves_before_the_first_audio(route: Route, where: str) -> None:
    model = ScriptedModel("one", clean_up_s=0.01)
    setattr(model, where, [hang])
    there = await route(model)
    task = asyncio.create_task(there.events())
    await until(lambda: bool(model.plans))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert there.idle()
    assert (there.counted.codes, there.counted.reasons) == ([], ["client-left"])


async def test_the_model_has_cleaned_up_before_its_failure_is_told(route: Route) -> None:
    model = ScriptedModel("one", script=[PIECE, RuntimeError("broken")], clean_up_s=0.01)
    there = await route(model)
    async for event in there.router.stream(SpeechRequest("the-id", "Hello.")):
        if isinstance(event, StreamFailed):
            assert there.idle()


# The catalogue


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ranks=st.lists(st.integers(0, 2), min_size=1, max_size=4), configured=st.none() | st.integers(0, 3))
async def test_the_default_model_is_what_auto_picks(
    route: Route, ranks: list[int], configured: int | None
) -> None:
    models = [ScriptedModel(f"m{n}", quality_rank=rank) for n, rank in enumerate(ranks)]
    default = None if configured is None else models[configured % len(models)].name
    there = await route(*models, default_model=default)
    for asked in ("auto", "gpt-4o-mini-tts"):
        start = (await there.events(model=asked))[0]
        assert isinstance(start, StreamStart)
        assert start.model == (await there.router.catalogue(voices=False)).default_model


# Logs


async def test_lines_about_a_request_name_it(route: Route, logged: list[str]) -> None:
    bad = ScriptedModel("bad", script=[Unavailable("down")])
    there = await route(bad, ScriptedModel("worse", script=[RuntimeError("broken")]))
    await there.events(model="bad", fallback=True)
    assert logged == [
        "model bad is asked (explicit); its first audio is expected at an unknown time [request the-id]",
        "model bad is avoided until it answers again: down",
        "model bad cannot serve: down [request the-id]",
        "model worse is asked (fallback:bad); its first audio is expected at an unknown time [request the-id]",
        "model worse failed [request the-id]",
    ]
