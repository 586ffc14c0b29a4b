"""Uploaded voices in the router process: owners, start-up, other replicas, damage."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from deployments.core.errors import InvalidRequest, NotFound, SpeechError
from deployments.core.speech import ModelCard, Voice
from deployments.voices.library import Outcome, VoiceLibrary
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio
from deployments.voices.voice import Voice as RegisteredVoice
from serve_app.config import VoiceSettings
from serve_app.voice_registry import VoiceDesk


class Model:
    def __init__(self, name: str, *, cloning: bool = True, fails: bool = False) -> None:
        self.card = ModelCard(name, "toy", 16_000, ("en",), "", cloning=cloning)
        self.fails = fails
        self.encoded = 0

    async def voices(self) -> list[Voice]:
        return []

    def use_library(self, library: VoiceLibrary) -> None:
        self.library = library

    async def prepare_voice(self, voice: RegisteredVoice) -> Outcome:
        return (await self.library.profile(voice, self.card.name, "1", self._encode))[1]

    def reference_warnings(self, duration_s: float) -> tuple[str, ...]:
        return ()

    async def _encode(self, audio: ReferenceAudio) -> VoiceProfile:
        if self.fails:
            raise SpeechError("the encoder is broken")
        self.encoded += 1
        return VoiceProfile({"length": np.array([audio.samples.shape[1]])})


def desk(url: Path, *models: Model, preload: tuple[str, ...] = ()) -> VoiceDesk:
    pipelines: dict[str, Any] = {model.card.name: model for model in models}
    return VoiceDesk(VoiceSettings(url=str(url), preload=preload), pipelines)


@pytest.fixture
def recording(tmp_path: Path) -> bytes:
    path = tmp_path / "recording.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(64_000) / 10), 16_000)
    return path.read_bytes()


async def test_owners_are_the_models_that_clone(tmp_path: Path, recording: bytes) -> None:
    two = desk(tmp_path / "v", Model("a"), Model("b"), Model("fixed", cloning=False))
    voice = await two.register(recording, name="Berta", aliases=["B"])
    for name in (voice.id, "berta", "B"):
        assert await two.owners(name) == {"a", "b"}
    for name in ("nobody", "../../etc/passwd", "\ud800", ""):
        assert await two.owners(name) is None
    (listed,) = await two.voices()
    assert listed == Voice(voice.id, "Berta", "", "mul", uploaded=True, aliases=("B",))


async def test_replicas_share_a_store(tmp_path: Path, recording: bytes) -> None:
    first, second = desk(tmp_path / "v", Model("a")), desk(tmp_path / "v", Model("a"))
    voice = await first.register(recording, name="Berta")
    assert await first.preload("Berta") == {"a": "miss"}
    assert await second.preload("Berta") == {"a": "hit-disk"}
    assert await second.delete("Berta") == voice.id
    assert await first.owners("Berta") is None
    with pytest.raises(NotFound):
        await first.preload(voice.id)


async def test_preload_at_start_survives_what_is_missing(
    tmp_path: Path, recording: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await desk(tmp_path / "v").register(recording, name="Berta")
    model, broken = Model("a"), Model("b", fails=True)
    for models, encoded in (((model,), 1), ((model, broken), 1)):
        starting = desk(tmp_path / "v", *models, preload=("nobody", "Berta"))
        with caplog.at_level(logging.ERROR, "ray.serve"):
            starting.start()
            assert starting._preloading is not None
            await asyncio.wait_for(starting._preloading, 5)
        assert model.encoded == encoded


async def test_a_voice_whose_manifest_is_damaged_can_be_deleted(tmp_path: Path, recording: bytes) -> None:
    one = desk(tmp_path / "v")
    voice = await one.register(recording, name="Berta")
    (tmp_path / "v" / "voices" / voice.id / "voice.json").write_text("{")
    with pytest.raises(SpeechError, match="damaged"):
        await one.get(voice.id)
    assert await one.delete(voice.id) == voice.id
    assert await one.voices() == []


async def test_full_store(tmp_path: Path, recording: bytes) -> None:
    full = VoiceDesk(VoiceSettings(url=str(tmp_path / "v"), max_voices=0), {})
    with pytest.raises(SpeechError, match="already holds 0 voices") as caught:
        await full.register(recording, name="Berta")
    assert caught.value.code == "too_many_voices"


async def test_nothing_to_preload_without_a_model_that_clones(tmp_path: Path, recording: bytes) -> None:
    none = desk(tmp_path / "v", Model("fixed", cloning=False))
    await none.register(recording, name="Berta")
    with pytest.raises(InvalidRequest, match="no model of this server clones"):
        await none.preload("Berta")
    assert await none.owners("Berta") == frozenset()
