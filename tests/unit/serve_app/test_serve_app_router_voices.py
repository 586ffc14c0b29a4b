"""Uploaded voices and the place where they are kept delay no request that does not need them."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from router_fakes import (
    END,
    PIECE,
    Route,
    ScriptedModel,
    failure_of,
    hang,
    until,
    within_reason,
)

from deployments.core.errors import NotFound, Overloaded, Unavailable
from deployments.core.pipeline import Plan
from deployments.core.speech import (
    SpeechRequest,
    StreamEnd,
)
from deployments.voices.index import IndexedVoice, VoiceIndex
from deployments.voices.registered_voice import NewVoice, RegisteredVoice
from serve_app.audio.delivery import Delivery
from serve_app.audio.encoders import FORMATS


async def test_a_request_that_is_refused_did_not_wait_for_the_voice_store(route: Route) -> None:
    """Nor does one for a voice of a model."""
    busy = ScriptedModel("busy", script=[PIECE, hang], cloning=True)
    there = await route(busy, ScriptedModel("free"), max_requests=1)
    over = threading.Event()

    def silent(*_: Any) -> None:
        over.wait(60)
        raise Unavailable("too late")

    for name in ("revision", "index", "find", "get"):
        setattr(there.router._voices._store, name, silent)
    held = asyncio.create_task(there.events(model="busy"))
    await until(lambda: busy.running == 1)
    refused = failure_of(await within_reason(there.events(model="busy", voice="somebody", fallback=False)))
    assert isinstance(refused, Overloaded)
    assert len(busy.plans) == 1
    assert isinstance((await within_reason(there.events(voice="free-voice")))[-1], StreamEnd)
    over.set()
    held.cancel()
    await asyncio.wait([held])


async def test_the_models_are_listed_without_a_look_at_the_voice_store(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = await route(ScriptedModel("one"), ScriptedModel("clone", cloning=True))

    async def looked() -> None:
        raise AssertionError("the store was looked at")

    monkeypatch.setattr(there.router._voices, "cards", looked)
    catalogue = await there.router.catalogue(voices=False)
    assert ([card.name for card in catalogue.models], catalogue.voices) == (["one", "clone"], ())


async def test_six_slow_uploads_delay_no_speech(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    there = await route(ScriptedModel("one", script=[PIECE, END]), ScriptedModel("clone", cloning=True))
    over = threading.Event()
    threads = set()

    def slow(*_: Any, **__: Any) -> None:
        threads.add(threading.current_thread().name.split("_")[0])
        over.wait(60)
        raise NotFound("too late")

    # Two are decoded or written at a time, the others wait.
    monkeypatch.setattr("deployments.voices.store.decode_reference", slow)
    uploads = [
        asyncio.create_task(there.router.register_voice(NewVoice(b"RIFF", f"voice {number}")))
        for number in range(6)
    ]
    await asyncio.sleep(0.05)

    async def encoded() -> bytes:
        stream = there.router.stream(SpeechRequest("the-id", "Hello.", model="one", voice="one-voice"))
        return await (await Delivery.open(stream, FORMATS["mp3"], 24_000)).whole()

    assert await within_reason(encoded())
    assert not any(upload.done() for upload in uploads)
    over.set()
    assert {type(answer) for answer in await asyncio.gather(*uploads)} == {NotFound}
    assert threads == {"voice-changes"}


def registered_voice(number: int) -> RegisteredVoice:
    return RegisteredVoice(f"voice_{number}", f"Name {number}", "0" * 64, "audio/wav", number, 4.0, 16_000)


async def test_a_thousand_uploaded_voices_cost_a_request_nothing(route: Route) -> None:
    there = await route(ScriptedModel("one"), ScriptedModel("clone", cloning=True))
    registered = there.router._voices._registered
    await registered.refresh()

    def index(count: int) -> VoiceIndex:
        voices = (
            RegisteredVoice(f"voice_{n}", f"Name {n}", "0" * 64, "audio/wav", n, 4.0, 16_000)
            for n in range(count)
        )
        return VoiceIndex({voice.id: IndexedVoice("stamp", voice) for voice in voices})

    def calls_of_choosing(voice: str) -> int:
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        registered._tried_at = time.monotonic()  # no look at the store is due
        sys.setprofile(count)
        try:
            there.router._decide(SpeechRequest("the-id", "Hello.", voice=voice))
        finally:
            sys.setprofile(None)
        return calls

    for voice in ("one-voice", "name 3", "voice_3", "nobody"):
        counts = []
        for many in (10, 1000):
            registered._index = index(many)
            calls_of_choosing(voice)  # what is computed once
            counts.append(calls_of_choosing(voice))
        assert counts[0] == counts[1]


async def test_a_voice_of_another_key_is_not_spoken_with(route: Route) -> None:
    """Neither where the router knows of it nor where only the model found it."""
    model = ScriptedModel("clone", cloning=True)
    there = await route(model)
    model.voices = ()
    owned = replace(registered_voice(1), owner="11111111")

    async def plan(request: SpeechRequest) -> Plan:
        return Plan(request, replace(owned.card, model="clone"), 1.0)

    model.plan = plan  # type: ignore[method-assign]
    for known in (True, False):
        found = owned if known else None
        there.router._voices.find_in_memory = lambda name, found=found: found  # type: ignore[method-assign]
        for model_name in ("auto", "clone"):
            asked = {"model": model_name, "voice": owned.name}
            refused = failure_of(await there.events(**asked, voices_of="22222222"))
            assert (refused.status, refused.code) == (404, "voice_not_found")
            assert owned.id not in refused.message
    there.router._voices.find_in_memory = lambda name: owned  # type: ignore[method-assign]
    for mine in ("11111111", None):
        assert isinstance((await there.events(voice=owned.name, voices_of=mine))[-1], StreamEnd)
    assert there.idle()
