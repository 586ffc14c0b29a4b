"""An interjection while the model works: when there is one, in whose voice, how it is joined, what is said of it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from router_fakes import END, RATE_HZ, Route, Routed, ScriptedModel, failure_of, hang, until, within_reason

from deployments.core.errors import InvalidRequest, Unavailable
from deployments.core.pipeline import Forecast
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd, StreamEvent, StreamStart
from deployments.voices.registered_voice import NewVoice, RegisteredVoice
from serve_app.config import Config
from serve_app.routing.fillers import LONGEST_S, PAUSE_S, joined

SLOW, QUICK = Forecast(3.0, 2.0), Forecast(0.2, 9.0)
WORDS = {"en": ["Well,"]}
VOICED = AudioChunk((0.2 * np.sin(np.arange(4000) / 5)).astype(np.float32), 0)


def slow(name: str = "slow", **fields: Any) -> ScriptedModel:
    return ScriptedModel(name, **{"script": [VOICED, END], "expected": SLOW, **fields})


async def filled(route: Route, *models: ScriptedModel, **routing: Any) -> Routed:
    return await route(*models, routing={"fillers": {"words": WORDS}, **routing})


async def answer(there: Routed, **fields: Any) -> tuple[StreamStart, list[StreamEvent]]:
    events = await within_reason(there.events(**{"filler": True, **fields}))
    assert isinstance(events[0], StreamStart), events
    return events[0], events


async def prepared(there: Routed, model: str = "slow") -> None:
    """After the first request that could have used one."""
    start, _ = await answer(there)
    assert start.filler_ms == 0
    await until(lambda: bool(there.router._fillers and there.router._fillers._made))
    there.models[model].plans.clear()


async def test_an_answer_begins_with_it_and_says_so(route: Route) -> None:
    model = slow()
    there = await filled(route, model)
    await prepared(there)
    go = asyncio.Event()
    model.script = [go.wait, VOICED, END]
    stream = there.router.stream(SpeechRequest("the-id", "Hello.", filler=True))
    start, filler = await anext(stream), await anext(stream)  # the model has made nothing yet
    assert isinstance(start, StreamStart)
    assert isinstance(filler, AudioChunk)
    assert start.voice == "slow-voice"
    assert start.filler_ms == pytest.approx(1000 * (len(filler.samples) / RATE_HZ - PAUSE_S))
    go.set()
    rest = [event async for event in stream]
    assert [type(event) for event in rest] == [AudioChunk, StreamEnd]
    assert isinstance(rest[0], AudioChunk)
    assert isinstance(rest[-1], StreamEnd)
    assert rest[-1].audio_s == pytest.approx(END.audio_s + len(filler.samples) / RATE_HZ)
    # Without a click: silence before and after the join, and no sample changed beyond the fade.
    assert filler.samples[0] == filler.samples[-1] == rest[0].samples[0] == 0
    assert np.array_equal(rest[0].samples[200:], VOICED.samples[200:])
    assert there.counted.codes[-1] == ("slow", 200)
    assert there.idle()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"filler": None}, False),
        ({"filler": False}, False),
        ({"seed": 1}, False),
        ({"speed": 1.5}, False),
        ({"stream": False}, False),
        ({"language": "zh"}, False),  # of which no words are configured
        ({"latency_budget_ms": 2999.0}, True),
        ({"latency_budget_ms": 3000.0}, False),
    ],
    ids=str,
)
async def test_when_there_is_one(route: Route, fields: dict[str, Any], expected: bool) -> None:
    there = await filled(route, slow(languages=("en", "zh")))
    await prepared(there)
    start, _ = await answer(there, **fields)
    assert (start.filler_ms > 0) == expected
    assert start.ignored == ()


async def test_never_where_the_first_audio_is_expected_in_time(route: Route) -> None:
    model = slow()
    there = await filled(route, model)
    await prepared(there)
    for forecast in (QUICK, None):
        model.expected = forecast
        assert (await answer(there))[0].filler_ms == 0


async def test_a_rule_may_ask_for_it_and_a_client_may_refuse(route: Route) -> None:
    rules = [{"name": "think", "when": {"tags": ["agent"]}, "filler": True}]
    there = await filled(route, slow(), rules=rules)
    await prepared(there)
    assert (await answer(there, filler=None))[0].filler_ms == 0
    assert (await answer(there, filler=None, tags=("agent",)))[0].filler_ms > 0
    assert (await answer(there, filler=False, tags=("agent",)))[0].filler_ms == 0


async def test_without_a_configuration_the_field_is_ignored_and_said_to_be(route: Route) -> None:
    there = await route(slow())
    start, _ = await answer(there)
    assert (start.filler_ms, start.ignored) == (0, ("filler",))


async def test_bad_input_and_a_model_that_cannot_begin_have_their_status(route: Route) -> None:
    first, second = slow("first"), slow("second")
    there = await filled(route, first, second)
    await prepared(there, "first")
    first.planning = [InvalidRequest("no", param="voice")]
    assert failure_of(await there.events(filler=True)).status == 400
    first.planning = [Unavailable("gone")]
    start, _ = await answer(there)  # before the filler another one may answer
    assert start.model == "second"


async def test_after_it_nobody_stands_in_and_the_model_is_to_blame(route: Route) -> None:
    first = slow("first")
    there = await filled(route, first, slow("second"))
    await prepared(there, "first")
    first.script = [Unavailable("gone")]
    start, events = await answer(there)
    assert start.filler_ms > 0
    assert isinstance(events[1], AudioChunk)
    assert failure_of(events).status == 503
    assert not there.models["second"].plans
    assert not there.router._health.is_up("first")
    assert there.idle()


async def test_a_client_that_leaves_while_it_plays(route: Route) -> None:
    model = slow()
    there = await filled(route, model)
    await prepared(there)
    model.script = [hang]
    stream = there.router.stream(SpeechRequest("the-id", "Hello.", filler=True))
    await anext(stream)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await until(lambda: model.running == 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    await stream.aclose()
    assert there.idle()
    assert there.counted.reasons == ["client-left"]


async def test_what_cannot_be_made_fails_nobody(route: Route, logged: list[str]) -> None:
    model = slow()
    there = await filled(route, model)
    fillers = there.router._fillers
    assert fillers is not None
    model.planning = [Unavailable("gone")]
    fillers.prepare("slow", "slow-voice")
    await until(lambda: not fillers._wanted)
    assert not fillers._made
    assert any(line.startswith("no filler 'Well,' of voice slow-voice (slow): gone") for line in logged)


async def test_a_deleted_voice_leaves_none(route: Route) -> None:
    there = await filled(route, slow())
    await prepared(there)
    fillers = there.router._fillers
    assert fillers is not None
    fillers.forget("slow-voice")
    assert not fillers._made


def test_what_is_silent_or_too_long_is_none() -> None:
    assert joined([], RATE_HZ) is None
    assert joined([np.zeros(8000, np.float32)], RATE_HZ) is None
    assert joined([np.full(round((LONGEST_S + 1) * RATE_HZ), 0.1, np.float32)], RATE_HZ) is None
    made = joined([VOICED.samples, VOICED.samples], RATE_HZ)
    assert made is not None
    assert made.duration_s == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("routing", "said"),
    [
        ({"fillers": {"words": {"English": ["Well,"]}}}, "'English' is no code of a language"),
        ({"fillers": {"words": {"en": []}}}, "needs at least one word"),
        ({"fillers": {"words": {"en": [" "]}}}, "none may be empty"),
        ({"fillers": {"budget_ms": 0}}, "greater than 0"),
        ({"rules": [{"name": "a", "filler": True}]}, "'a' says filler: true, and there are none"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(routing: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Config.model_validate({"models": {"one": {"kind": "x"}}, "routing": routing})


async def test_a_registered_voice_gets_its_own_before_it_speaks(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone, plain = slow("clone", cloning=True, languages=("en", "zh")), slow("plain")
    there = await filled(route, clone, plain)
    voice = RegisteredVoice("voice_1", "Berta", "0" * 64, "audio/wav", 1, 4.0, 16_000)

    async def kept(new: NewVoice) -> RegisteredVoice:
        return voice

    async def deleted(name: str) -> str:
        return voice.id

    monkeypatch.setattr(there.router._voices, "register", kept)
    monkeypatch.setattr(there.router._voices, "delete", deleted)
    assert await there.router.register_voice(NewVoice(b"RIFF", "Berta")) == voice
    fillers = there.router._fillers
    assert fillers is not None
    await until(lambda: bool(fillers._made))
    assert [(request.text, request.voice, request.language) for request in clone.plans] == [
        ("Well,", "voice_1", "en")
    ]
    assert not plain.plans
    assert await there.router.delete_voice("Berta") == "voice_1"
    assert not fillers._made
