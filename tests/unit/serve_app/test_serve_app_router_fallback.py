"""Another model answers only where it may, and the answer says so."""

from __future__ import annotations

import asyncio

import pytest
from router_fakes import PIECE, Route, ScriptedModel, failure_of, hang, until, within_reason

from deployments.core.catalogue import VoiceCard
from deployments.core.errors import InvalidRequest, NotFound, Overloaded, Unavailable
from deployments.core.speech import StreamStart


def with_alias(name: str, alias: str = "alloy", **fields: object) -> ScriptedModel:
    model = ScriptedModel(name, **fields)  # type: ignore[arg-type]
    model.voices = (VoiceCard(f"{name}-voice", name, name, "en", aliases=(alias,)),)
    return model


async def test_a_voice_whose_model_is_down_is_stood_in_for_with_a_warning(route: Route) -> None:
    first = with_alias("first", script=[Unavailable("down")])
    there = await route(first, with_alias("second"), ScriptedModel("third"), default_model="first")
    start = (await there.events(model="tts-1", voice="alloy"))[0]
    assert isinstance(start, StreamStart)
    assert (start.model, start.voice, start.reason) == ("second", "second-voice", "fallback:first")
    assert start.warnings == (
        "model 'first' cannot answer now: voice 'second-voice' of model 'second' speaks",
    )
    assert isinstance(failure_of(await there.events(model="first", voice="alloy")), Unavailable)
    assert isinstance(failure_of(await there.events(voice="alloy", fallback=False)), Unavailable)


async def test_no_model_without_that_voice_stands_in(route: Route) -> None:
    there = await route(with_alias("first", script=[Unavailable("down")]), ScriptedModel("second"))
    assert isinstance(failure_of(await there.events(voice="alloy")), Unavailable)
    assert isinstance(
        failure_of(await there.events(model="first", voice="alloy", fallback=True)), Unavailable
    )


async def test_a_full_model_keeps_its_voices(route: Route) -> None:
    busy = with_alias("busy", script=[PIECE, hang])
    there = await route(busy, with_alias("free"), default_model="busy", max_requests=1)
    held = asyncio.create_task(there.events(voice="alloy"))
    await until(lambda: busy.running == 1)
    assert isinstance(failure_of(await within_reason(there.events(model="fast", voice="alloy"))), Overloaded)
    for fields in ({"voice": "alloy", "fallback": True}, {}):
        start = (await within_reason(there.events(**fields)))[0]
        assert isinstance(start, StreamStart)
        assert (start.model, start.reason) == ("free", "fallback:busy")
    held.cancel()
    await asyncio.wait([held])


@pytest.mark.parametrize("voice", ["ALLOY", "Alloy", " alloy ", "One-Voice", "ONE-VOICE"])
@pytest.mark.parametrize("model", ["auto", "one"])
async def test_voice_names_fold_case(route: Route, voice: str, model: str) -> None:
    one = with_alias("one")
    there = await route(ScriptedModel("other"), one, default_model="other")
    start = (await there.events(model=model, voice=voice))[0]
    assert isinstance(start, StreamStart), start
    assert start.voice == "one-voice"
    assert one.plans[0].voice in ("alloy", "one-voice")


async def test_the_404_of_a_policy_blames_no_model(route: Route) -> None:
    clone = ScriptedModel(
        "clone",
        cloning=True,
        planning=[NotFound("not in model 'clone'", param="voice", code="voice_not_found")],
    )
    there = await route(ScriptedModel("plain"), clone)
    for model in ("auto", "fast", "quality", "tts-1", "tts-1-hd"):
        error = failure_of(await there.events(model=model, voice="nobody"))
        assert error.message == "voice 'nobody' does not exist; GET /v1/audio/voices lists all"
        assert (error.status, error.param, error.code) == (404, "voice", "voice_not_found")
    assert "'clone'" in failure_of(await there.events(model="clone", voice="nobody")).message


async def test_the_model_gets_the_code_of_the_language(route: Route) -> None:
    one = ScriptedModel("one")
    there = await route(one)
    for written, code in (("en-GB", "en"), ("English", "en"), ("auto", None), (None, None)):
        await there.events(language=written)
        assert one.plans[-1].language == code
    error = failure_of(await there.events(language="fr"))
    assert isinstance(error, InvalidRequest)
    assert "spoken are en (English)" in error.message
