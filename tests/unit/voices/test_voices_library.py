from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deployments.core.deadline import Deadline
from deployments.core.errors import DeadlineExceeded, InvalidRequest, NotFound, Unavailable
from deployments.voices.files import store_unavailable
from deployments.voices.library import ProfileFound, VoiceLibrary
from deployments.voices.profile import EncodedProfile, VoiceProfile, voice_key
from deployments.voices.profile_store import LOCKS
from deployments.voices.reference import Recording, ReferenceAudio
from deployments.voices.registered_voice import NewVoice, RegisteredVoice, VoiceChanges
from deployments.voices.store import VoiceStore


class Encoder:
    def __init__(self, takes_s: float = 0.02, error: Exception | None = None, version: str = "1") -> None:
        self.version = version
        self.calls: list[str] = []
        self.takes_s = takes_s
        self.error = error

    async def __call__(self, audio: ReferenceAudio) -> EncodedProfile:
        self.calls.append(audio.sha256)
        await asyncio.sleep(self.takes_s)
        if self.error:
            raise self.error
        arrays = {"mean": audio.mono()[:100], "rate": np.array(audio.sample_rate_hz)}
        return EncodedProfile(VoiceProfile(arrays), self.version)


@pytest.fixture
def voice(store: VoiceStore, recording: bytes) -> RegisteredVoice:
    return store.register(NewVoice(recording, "Anna"))


def one_off(recording: bytes, reference_text: str = "") -> Recording:
    return Recording(hashlib.sha256(recording).hexdigest(), recording, reference_text)


async def test_ram_disk_encoder(store: VoiceStore, voice: RegisteredVoice) -> None:
    encode = Encoder()
    library = VoiceLibrary(store)
    first = await library.profile(Recording.of(voice), "m", "1", encode)
    assert (first.outcome, first.model_version) == ("miss", "1")
    assert first.profile.key == voice_key(voice.sha256, "m", "1")
    again = await library.profile(Recording.of(voice), "m", "1", encode)
    assert again.outcome == "hit-ram"
    assert again.profile is first.profile
    restarted = VoiceLibrary(VoiceStore(store.files.url))
    found = await restarted.registered.find("anna")
    assert found
    loaded = await restarted.profile(Recording.of(found), "m", "1", encode)
    assert (loaded.outcome, loaded.model_version) == ("hit-disk", "1")
    for name in ("mean", "rate"):
        np.testing.assert_array_equal(loaded.profile[name], first.profile[name])
    assert len(encode.calls) == 1
    encode.version = "2"
    assert (await library.profile(Recording.of(voice), "m", "2", encode)).outcome == "miss"
    assert (await library.profile(Recording.of(voice), "other", "2", encode)).outcome == "miss"
    assert len(encode.calls) == 3


async def test_a_profile_is_filed_under_the_version_that_made_it(
    store: VoiceStore, voice: RegisteredVoice
) -> None:
    """Weights were replaced; whoever asks still believes in the old ones."""
    library, encode = VoiceLibrary(store), Encoder(version="new")
    found = await library.profile(Recording.of(voice), "m", "old", encode)
    assert (found.outcome, found.model_version) == ("miss", "new")
    assert found.profile.key == voice_key(voice.sha256, "m", "new")
    assert (await library.profile(Recording.of(voice), "m", "new", encode)).outcome == "hit-ram"
    assert (await VoiceLibrary(store).profile(Recording.of(voice), "m", "new", encode)).outcome == "hit-disk"
    assert store.profiles.load(voice_key(voice.sha256, "m", "old")) is None
    assert len(encode.calls) == 1


async def test_fifty_first_uses_encode_once(store: VoiceStore, voice: RegisteredVoice) -> None:
    encode = Encoder(0.1)
    library = VoiceLibrary(store)
    results = await asyncio.gather(
        *(library.profile(Recording.of(voice), "m", "1", encode) for _ in range(50))
    )
    assert len(encode.calls) == 1
    assert len({id(found.profile) for found in results}) == 1
    assert {found.outcome for found in results} == {"miss"}


@pytest.mark.slow
async def test_many_voices_at_once(store: VoiceStore, speech: Callable, wav: Callable) -> None:
    voices = [store.register(NewVoice(wav(speech(1.5, seed=seed)), str(seed))) for seed in range(8)]
    encode = Encoder(0.05)
    libraries = [VoiceLibrary(VoiceStore(store.files.url)) for _ in range(3)]
    uses = [
        library.profile(Recording.of(voice), "m", "1", encode)
        for _ in range(5)
        for voice in voices
        for library in libraries
    ]
    results = await asyncio.gather(*uses)
    assert len(encode.calls) == 8
    assert {found.profile.key for found in results} == {voice_key(voice.sha256, "m", "1") for voice in voices}


async def test_a_cancelled_caller_leaves_the_others_alone(store: VoiceStore, voice: RegisteredVoice) -> None:
    encode = Encoder(0.2)
    library = VoiceLibrary(store)
    waiters = [asyncio.create_task(library.profile(Recording.of(voice), "m", "1", encode)) for _ in range(5)]
    await asyncio.sleep(0.05)
    for waiter in waiters[:4]:
        waiter.cancel()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[:4])
    assert isinstance(results[4], ProfileFound)
    assert len(encode.calls) == 1


async def test_all_callers_cancelled(
    store: VoiceStore, voice: RegisteredVoice, caplog: pytest.LogCaptureFixture
) -> None:
    library = VoiceLibrary(store)
    for encode in (Encoder(0.1, InvalidRequest("no voice heard")), Encoder(0.1)):
        waiter = asyncio.create_task(library.profile(Recording.of(voice), "m", "1", encode))
        await asyncio.sleep(0.05)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        while library._running:
            await asyncio.sleep(0.01)
    assert (await library.profile(Recording.of(voice), "m", "1", Encoder())).outcome == "hit-ram"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_errors_reach_all_and_are_not_kept(store: VoiceStore, voice: RegisteredVoice) -> None:
    library = VoiceLibrary(store)
    encode = Encoder(0.05, InvalidRequest("no voice heard"))
    uses = (library.profile(Recording.of(voice), "m", "1", encode) for _ in range(10))
    results = await asyncio.gather(*uses, return_exceptions=True)
    assert [str(result) for result in results] == ["no voice heard"] * 10
    assert len(encode.calls) == 1
    encode.error = None
    assert (await library.profile(Recording.of(voice), "m", "1", encode)).outcome == "miss"


@pytest.mark.slow
async def test_a_deadline_ends_only_the_own_wait(store: VoiceStore, voice: RegisteredVoice) -> None:
    encode, library = Encoder(0.3), VoiceLibrary(store)
    other = asyncio.create_task(library.profile(Recording.of(voice), "m", "1", encode))
    with pytest.raises(DeadlineExceeded, match="the voice was not ready within the time allowed"):
        await library.profile(Recording.of(voice), "m", "1", encode, Deadline.after(0.05))
    assert (await other).outcome == "miss"
    found = await library.profile(Recording.of(voice), "m", "1", encode, Deadline.after(-1))
    assert found.outcome == "hit-ram", "what is there needs no time"
    assert len(encode.calls) == 1


async def test_one_off_recordings_are_never_written(store: VoiceStore, recording: bytes) -> None:
    library = VoiceLibrary(store)
    encode = Encoder()
    outcomes = [(await library.profile(one_off(recording), "m", "1", encode)).outcome for _ in range(2)]
    assert outcomes == ["miss", "hit-ram"]
    assert store.files.names("profiles") == []
    assert (await library.profile(one_off(recording, "hello"), "m", "1", encode)).outcome == "miss"
    assert len(encode.calls) == 2


async def test_one_off_use_of_a_registered_recording(
    store: VoiceStore, voice: RegisteredVoice, recording: bytes
) -> None:
    encode = Encoder()
    await VoiceLibrary(store).profile(Recording.of(voice), "m", "1", encode)
    assert (await VoiceLibrary(store).profile(one_off(recording), "m", "1", encode)).outcome == "hit-disk"


async def test_reference_text_makes_another_profile(store: VoiceStore, voice: RegisteredVoice) -> None:
    library = VoiceLibrary(store)
    encode = Encoder()
    await library.profile(Recording.of(voice), "m", "1", encode)
    changed = replace(voice, reference_text="hello")
    assert (await library.profile(Recording.of(changed), "m", "1", encode)).outcome == "miss"
    renamed = await asyncio.to_thread(store.update, voice.id, VoiceChanges(name="Bea"))
    assert (await library.profile(Recording.of(renamed), "m", "1", encode)).outcome == "hit-ram"


async def test_deleted_voices_are_forgotten_by_every_process(
    store: VoiceStore, voice: RegisteredVoice
) -> None:
    encode = Encoder()
    here, there = VoiceLibrary(store), VoiceLibrary(VoiceStore(store.files.url))
    for library in (here, there):
        assert await library.registered.find("Anna") == voice
        await library.profile(Recording.of(voice), "m", "1", encode)
        assert library.ram.stats().items == 1
    await asyncio.to_thread(store.delete, voice.id)
    for library in (here, there):
        await library.registered.refresh()
        assert await library.registered.find("Anna") is None
        assert library.ram.stats().items == 0
    with pytest.raises(NotFound):
        await VoiceLibrary(store).profile(Recording.of(voice), "m", "1", encode)


async def test_a_twin_keeps_the_profile_of_a_deleted_voice(
    store: VoiceStore, voice: RegisteredVoice, recording: bytes
) -> None:
    store.register(NewVoice(recording, "Twin"))
    library = VoiceLibrary(store)
    await library.registered.refresh()
    await library.profile(Recording.of(voice), "m", "1", Encoder())
    await asyncio.to_thread(store.delete, voice.id)
    await library.registered.refresh()
    twin = await library.registered.find("Twin")
    assert twin
    assert (await library.profile(Recording.of(twin), "m", "1", Encoder())).outcome == "hit-ram"
    assert (await VoiceLibrary(store).profile(Recording.of(twin), "m", "1", Encoder())).outcome == "hit-disk"


async def test_other_recording_under_the_same_name(
    store: VoiceStore, voice: RegisteredVoice, speech, wav
) -> None:
    encode = Encoder()
    there = VoiceLibrary(VoiceStore(store.files.url))
    old = await there.profile(Recording.of(voice), "m", "1", encode)
    store.delete(voice.id)
    store.register(NewVoice(wav(speech(2, seed=5)), "Anna"))
    await there.registered.refresh()
    found = await there.registered.find("Anna")
    assert found
    new = await there.profile(Recording.of(found), "m", "1", encode)
    assert new.outcome == "miss"
    assert new.profile.key != old.profile.key


async def test_deleted_while_it_is_encoded(store: VoiceStore, voice: RegisteredVoice) -> None:
    library, encode = VoiceLibrary(store), Encoder(1.0)
    use = asyncio.create_task(library.profile(Recording.of(voice), "m", "1", encode))
    while not encode.calls:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(store.delete, voice.id)
    assert (await use).outcome == "miss"
    assert store.files.names("profiles") == []


async def test_damaged_profile_is_made_again(store: VoiceStore, voice: RegisteredVoice) -> None:
    encode = Encoder()
    await VoiceLibrary(store).profile(Recording.of(voice), "m", "1", encode)
    folder = f"profiles/{voice.sha256}"
    (name,) = (name for name in store.files.names(folder) if name.endswith("safetensors"))
    store.files.write(f"{folder}/{name}", b"half")
    outcomes = [
        (await VoiceLibrary(store).profile(Recording.of(voice), "m", "1", encode)).outcome for _ in range(2)
    ]
    assert outcomes == ["miss", "hit-disk"]


async def test_full_disk_is_no_reason_to_fail(
    store: VoiceStore,
    voice: RegisteredVoice,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(path: str, data: bytes) -> None:
        raise store_unavailable(store.files.place, "disk full")

    monkeypatch.setattr(store.files, "write", fail)
    library = VoiceLibrary(store)
    outcomes = [(await library.profile(Recording.of(voice), kind, "1", Encoder())).outcome for kind in "mmnn"]
    assert outcomes == ["miss", "hit-ram", "miss", "hit-ram"]
    assert len([record for record in caplog.records if "disk full" in record.getMessage()]) == 1
    monkeypatch.undo()
    await library.profile(Recording.of(voice), "o", "1", Encoder())
    assert store.profiles.load(voice_key(voice.sha256, "o", "1")), "it is used again as soon as it works"


async def test_waits_no_longer_than_its_timeout(store: VoiceStore, voice: RegisteredVoice) -> None:
    library = VoiceLibrary(store, lock_timeout_s=0.1)
    lock = store.profiles.lock(voice_key(voice.sha256, "m", "1"))
    assert lock.try_acquire()
    with pytest.raises(Unavailable):
        await library.profile(Recording.of(voice), "m", "1", Encoder())
    lock.release()
    assert (await library.profile(Recording.of(voice), "m", "1", Encoder())).outcome == "miss"


async def test_small_ram(store: VoiceStore, voice: RegisteredVoice) -> None:
    library = VoiceLibrary(store, ram_bytes=100)
    outcomes = [(await library.profile(Recording.of(voice), "m", "1", Encoder())).outcome for _ in range(2)]
    assert outcomes == ["miss", "hit-disk"]


@pytest.mark.slow
async def test_lock_files_do_not_grow_in_number(tmp_path: Path, recording: bytes) -> None:
    store = VoiceStore(str(tmp_path))
    voice = store.register(NewVoice(recording, "Anna"))
    keys = [voice_key(voice.sha256, "m", str(version)) for version in range(3000)]
    for key in keys:
        lock = store.profiles.lock(key)
        assert lock.try_acquire()
        lock.release()
    assert len(store.files.names("locks")) <= LOCKS + 1
    held = store.profiles.lock(keys[0])
    assert held.try_acquire()
    assert not store.profiles.lock(keys[0]).try_acquire()
    held.release()
