"""Uploaded voices in the router process: owners, start-up, other replicas, damage, stores that do not work."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from deployments.core.catalogue import ModelCard, VoiceCard
from deployments.core.errors import Conflict, InvalidRequest, NotFound, SpeechError, Unavailable
from deployments.core.speech import SpeechRequest
from deployments.voices import snapshot, stored_profiles
from deployments.voices.library import Outcome, VoiceLibrary
from deployments.voices.profile import EncodedProfile, VoiceProfile
from deployments.voices.reference import Recording, ReferenceAudio
from deployments.voices.registered_voice import NewVoice, RegisteredVoice, VoiceChanges
from deployments.voices.resolver import VoiceResolver
from deployments.voices.store import VoiceStore
from serve_app import voice_registry
from serve_app.config import VoiceSettings
from serve_app.voice_registry import VoiceRegistry


class Model:
    def __init__(
        self, name: str, *, cloning: bool = True, fails: bool = False, voices: tuple[VoiceCard, ...] = ()
    ) -> None:
        self.card = ModelCard(name, "toy", 16_000, ("en",), "", cloning=cloning)
        self.voices = voices
        self.fails = fails
        self.encoded = 0

    def use_library(self, library: VoiceLibrary) -> None:
        self.library = library

    async def prepare_voice(self, voice: RegisteredVoice) -> Outcome:
        return (await self.profile(Recording.of(voice))).outcome

    async def profile(self, recording: Recording) -> Any:
        return await self.library.profile(recording, self.card.name, "1", self._encode)

    def reference_warnings(self, duration_s: float) -> tuple[str, ...]:
        return ("only 3 s are heard",) if duration_s > 3 else ()

    async def _encode(self, audio: ReferenceAudio) -> EncodedProfile:
        if self.fails:
            raise SpeechError("the encoder is broken")
        self.encoded += 1
        return EncodedProfile(VoiceProfile({"length": np.array([audio.samples.shape[1]])}), "1")


def registry(url: Path, *models: Model, preload: tuple[str, ...] = (), **settings: Any) -> VoiceRegistry:
    pipelines: dict[str, Any] = {model.card.name: model for model in models}
    return VoiceRegistry(VoiceSettings(url=str(url), preload=preload, **settings), pipelines)


@pytest.fixture(autouse=True)
def time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are not about slow stores, however busy the machine is."""
    for module, name in (
        (snapshot, "SHORT_WAIT_S"),
        (snapshot, "LONGEST_WAIT_S"),
        (stored_profiles, "LONGEST_WAIT_S"),
    ):
        monkeypatch.setattr(module, name, 60.0)


@pytest.fixture
def recording(tmp_path: Path) -> bytes:
    path = tmp_path / "recording.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(64_000) / 10), 16_000)
    return path.read_bytes()


async def test_uploaded_voices_belong_to_the_models_that_clone(tmp_path: Path, recording: bytes) -> None:
    two = registry(tmp_path / "v", Model("a"), Model("b"), Model("fixed", cloning=False))
    voice = await two.register(NewVoice(recording, "Berta", aliases=("B",)))
    assert voice.warnings == ("a: only 3 s are heard", "b: only 3 s are heard")
    assert two.cloning_models == {"a", "b"}
    for name in (voice.id, "berta", "B"):
        found = two.find_in_memory(name)
        assert found
        assert found.id == voice.id
        assert await two.get(name) == voice
    for name in ("nobody", "../../etc/passwd", "\ud800", ""):
        assert two.find_in_memory(name) is None
        with pytest.raises(NotFound):
            await two.get(name)
    assert await two.cards() == (VoiceCard(voice.id, "Berta", "", "mul", uploaded=True, aliases=("B",)),)
    assert await two.sample("b") == ("audio/wav", recording)
    changed = await two.update("b", VoiceChanges(name="Bea", aliases=()))
    assert (changed.name, changed.aliases, changed.revision) == ("Bea", (), 2)
    assert two.find_in_memory("berta") is None
    assert await two.delete("bea") == voice.id
    assert await two.cards() == ()


async def test_replicas_share_a_store(
    tmp_path: Path, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = registry(tmp_path / "v", Model("a")), registry(tmp_path / "v", Model("a"))
    assert await second.cards() == ()
    voice = await first.register(NewVoice(recording, "Berta"))
    assert await second.preload("Berta") == {"a": "miss"}
    assert await first.preload("Berta") == {"a": "hit-disk"}
    assert await second.delete("Berta") == voice.id
    monkeypatch.setattr(snapshot, "TTL_S", 0.0)
    with pytest.raises(NotFound):
        await first.get("Berta")
    assert first.find_in_memory("Berta") is None
    with pytest.raises(NotFound):
        await first.preload(voice.id)


async def test_a_change_goes_to_the_voice_that_is_called_so_now(tmp_path: Path, recording: bytes) -> None:
    """Not to the one that was, as far as this process knows."""
    here, there = registry(tmp_path / "v"), VoiceStore(str(tmp_path / "v"))
    old = await here.register(NewVoice(recording, "Berta"))
    there.update(old.id, VoiceChanges(name="Former Berta"))
    new = there.register(NewVoice(recording, "Berta"))
    assert await here.delete("berta") == new.id
    assert (await here.get(old.id)).name == "Former Berta"


async def test_names_of_models_are_reserved(tmp_path: Path, recording: bytes) -> None:
    card = VoiceCard("anna", "Anna B.", "fixed", "en", aliases=("Änne",))
    one = registry(tmp_path / "v", Model("fixed", cloning=False, voices=(card,)))
    voice = await one.register(NewVoice(recording, "Anna B.", aliases=("b",)))
    for name in ("ANNA", "änne", "A\u0308nne", "Alloy", "verse"):
        for attempt in (
            one.register(NewVoice(recording, name)),
            one.register(NewVoice(recording, "other", aliases=(name,))),
            one.update(voice.id, VoiceChanges(name=name)),
            one.update(voice.id, VoiceChanges(aliases=("c", name))),
        ):
            with pytest.raises(Conflict, match="already offers") as caught:
                await attempt
            assert caught.value.code == "voice_exists"
    for call in (one.get, one.delete, one.sample, one.preload):
        with pytest.raises(InvalidRequest, match="is a voice of a model") as refused:
            await call("Anna")
        assert refused.value.code == "voice_fixed"
        with pytest.raises(NotFound):
            await call("alloy")


async def test_preload_at_start_survives_what_is_missing(
    tmp_path: Path, recording: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await registry(tmp_path / "v").register(NewVoice(recording, "Berta"))
    model, broken = Model("a"), Model("b", fails=True)
    for models, encoded in (((model,), 1), ((model, broken), 1)):
        starting = registry(tmp_path / "v", *models, preload=("nobody", "Berta"))
        with caplog.at_level(logging.ERROR, "ray.serve"):
            starting.start()
            assert starting._preloading is not None
            await asyncio.wait_for(starting._preloading, 5)
        assert model.encoded == encoded


async def test_a_voice_whose_manifest_is_damaged_can_be_deleted(tmp_path: Path, recording: bytes) -> None:
    one = registry(tmp_path / "v")
    voice = await one.register(NewVoice(recording, "Berta"))
    (tmp_path / "v" / "voices" / voice.id / "voice.json").write_text("{")
    fresh = registry(tmp_path / "v")
    with pytest.raises(SpeechError, match="damaged"):
        await fresh.get(voice.id)
    assert await fresh.delete(voice.id) == voice.id
    assert await fresh.cards() == ()


async def test_full_store(tmp_path: Path, recording: bytes) -> None:
    full = registry(tmp_path / "v", max_voices=0)
    with pytest.raises(SpeechError, match="already holds 0 voices") as caught:
        await full.register(NewVoice(recording, "Berta"))
    assert caught.value.code == "too_many_voices"


async def test_nothing_to_preload_without_a_model_that_clones(tmp_path: Path, recording: bytes) -> None:
    none = registry(tmp_path / "v", Model("fixed", cloning=False))
    voice = await none.register(NewVoice(recording, "Berta"))
    assert "No model of this server clones voices" in voice.warnings[-1]
    with pytest.raises(InvalidRequest, match="no model of this server clones"):
        await none.preload("Berta")
    assert none.find_in_memory("Berta")
    assert none.cloning_models == frozenset()


async def test_a_store_that_cannot_be_used(tmp_path: Path, recording: bytes) -> None:
    place = tmp_path / "v"
    place.write_text("a file")
    model = Model("a")
    one = registry(place, model)
    one.start()
    for attempt in (
        one.register(NewVoice(recording, "Berta")),
        one.update("berta", VoiceChanges(name="Bea")),
        one.delete("berta"),
        one.get("berta"),
        one.sample("berta"),
        one.preload("berta"),
    ):
        with pytest.raises(Unavailable, match="Not a directory") as caught:
            await attempt
        assert (caught.value.status, caught.value.code) == (503, "voice_store_unavailable")
    assert await one.cards() == ()
    assert one.find_in_memory("berta") is None
    (tmp_path / "stock").mkdir()
    (tmp_path / "stock" / "anna.wav").write_bytes(recording)
    voices = VoiceResolver(
        "a", tmp_path / "stock", aliases={}, default=None, reference_warnings=model.reference_warnings
    )
    found = await voices.resolve(SpeechRequest("r", "hello"), one.library)
    assert [(await model.profile(found.recording)).outcome for _ in range(2)] == ["miss", "hit-ram"]

    place.unlink()
    voice = await one.register(NewVoice(recording, "Berta"))
    assert await one.get("berta") == voice
    assert len(await one.cards()) == 1


async def test_slow_uploads_hold_up_nothing_else(
    tmp_path: Path, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model("a")
    one = registry(tmp_path / "v", model)
    voice = await one.register(NewVoice(recording, "Berta"))
    over = threading.Event()

    def slow(new: NewVoice) -> RegisteredVoice:
        over.wait(30)
        raise Conflict("taken")

    monkeypatch.setattr(one._store, "register", slow)
    uploads = [asyncio.create_task(one.register(NewVoice(recording, str(i)))) for i in range(8)]
    await asyncio.sleep(0.1)
    began = time.monotonic()
    assert await one.sample("berta") == ("audio/wav", recording)
    assert await one.preload(voice.id) == {"a": "miss"}
    with pytest.raises(NotFound):
        await one.get("nobody")
    assert len(await one.cards()) == 1
    assert time.monotonic() - began < 20, "the uploads take longer than that"
    assert not any(upload.done() for upload in uploads)
    over.set()
    assert [str(error) for error in await asyncio.gather(*uploads, return_exceptions=True)] == ["taken"] * 8


@pytest.mark.slow
async def test_too_many_uploads_are_refused_and_silent_stores_given_up(
    tmp_path: Path, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = registry(tmp_path / "v", Model("a"))
    over = threading.Event()

    def silent(new: NewVoice) -> None:
        over.wait(30)

    monkeypatch.setattr(one._store, "register", silent)
    monkeypatch.setattr(voice_registry, "CHANGE_TIMEOUT_S", 0.5)
    allowed = voice_registry.CHANGES_AT_ONCE + voice_registry.MAX_WAITING_CHANGES
    uploads = [
        asyncio.create_task(one.register(NewVoice(recording, str(number)))) for number in range(allowed)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="wait already") as busy:
        await one.register(NewVoice(recording, "one too many"))
    assert busy.value.code == "voice_store_busy"
    for error in await asyncio.gather(*uploads, return_exceptions=True):
        assert isinstance(error, Unavailable)
        assert error.code == "voice_store_unavailable"
        assert "no answer within 0.5 s" in error.message
    over.set()
