"""Stores that cannot be reached, refuse to be written, or do not answer: they harm only whoever needs them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path

import numpy as np
import pytest
from voices_toy import Stall

from deployments.core.errors import Unavailable
from deployments.voices import library as library_module
from deployments.voices import stored_profiles
from deployments.voices.library import Outcome, VoiceLibrary
from deployments.voices.profile import EncodedProfile, VoiceProfile, voice_key
from deployments.voices.reference import Recording, ReferenceAudio
from deployments.voices.registered_voice import NewVoice, VoiceChanges
from deployments.voices.remote_files import RemoteFiles
from deployments.voices.store import VoiceStore


async def encode(audio: ReferenceAudio) -> EncodedProfile:
    return EncodedProfile(VoiceProfile({"length": np.array(audio.samples.shape[1])}), "1")


@pytest.fixture
def stock(tmp_path: Path, recording: bytes) -> Recording:
    path = tmp_path / "anna.wav"
    path.write_bytes(recording)
    return Recording(hashlib.sha256(recording).hexdigest(), path)


async def outcomes(library: VoiceLibrary, recording: Recording, times: int = 2) -> list[Outcome]:
    return [(await library.profile(recording, "m", "1", encode)).outcome for _ in range(times)]


def works_again_as_soon_as_it_can(store: VoiceStore, recording: bytes) -> None:
    voice = store.register(NewVoice(recording, "Anna"))
    assert store.find("anna") == voice


async def test_a_place_that_is_no_directory(
    tmp_path: Path, stock: Recording, recording: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "store"
    place.write_text("a file")
    store = VoiceStore(str(place))
    library = VoiceLibrary(store)
    assert await outcomes(library, stock) == ["miss", "hit-ram"]
    other = Recording(stock.sha256, stock.content, "another text")
    assert await outcomes(library, other) == ["miss", "hit-ram"]
    lines = [record.getMessage() for record in caplog.records if str(place) in record.getMessage()]
    assert len(lines) == 1
    assert "kept in RAM only" in lines[0]
    one_off = Recording(stock.sha256, recording, "a third text")
    assert await outcomes(library, one_off) == ["miss", "hit-ram"]

    attempts = (
        lambda: store.register(NewVoice(recording, "Anna")),
        lambda: store.update("voice", VoiceChanges(name="Bea")),
        lambda: store.delete("voice"),
        lambda: store.find("Anna"),
        store.index,
        store.revision,
    )
    for attempt in attempts:
        with pytest.raises(Unavailable) as caught:
            attempt()
        assert (caught.value.status, caught.value.code) == (503, "voice_store_unavailable")
        assert caught.value.retry_after_s
        for part in (str(place), "a directory", "Check that the place exists", "work without it"):
            assert part in caught.value.message

    place.unlink()
    works_again_as_soon_as_it_can(store, recording)
    assert await library.registered.find("Anna")


async def test_a_store_that_can_only_be_read(
    tmp_path: Path, stock: Recording, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a volume that is mounted read-only: what is there is used, what is made is kept in RAM."""
    store = VoiceStore(str(tmp_path / "store"))
    voice = store.register(NewVoice(recording, "Anna"))
    await VoiceLibrary(store).profile(Recording.of(voice), "known", "1", encode)

    def refuse(*arguments: object, **fields: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    library = VoiceLibrary(store)
    found = await library.registered.find("anna")
    assert found == voice
    assert (await library.profile(Recording.of(found), "known", "1", encode)).outcome == "hit-disk"
    assert await outcomes(library, Recording.of(found)) == ["miss", "hit-ram"]
    assert await outcomes(library, stock) == ["hit-ram"] * 2, "the same recording"
    with pytest.raises(Unavailable, match="Read-only file system"):
        store.register(NewVoice(recording, "Bea"))


async def test_an_object_store_that_is_away_when_the_server_starts(
    stock: Recording, recording: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: object, **fields: object) -> None:
        raise ConnectionError("connection refused")

    with monkeypatch.context() as unplugged:
        unplugged.setattr("fsspec.core.url_to_fs", away)
        store = VoiceStore(f"memory://user:secret@{tmp_path.name}/away?key=secret")
        library = VoiceLibrary(store)
        assert await outcomes(library, stock) == ["miss", "hit-ram"]
        with pytest.raises(Unavailable, match="connection refused") as caught:
            await library.registered.find("Anna")
        assert "secret" not in caught.value.message
    works_again_as_soon_as_it_can(store, recording)
    assert await library.registered.find("Anna")


@pytest.mark.parametrize(("url", "error"), [("nonsense://x", ValueError), ("gdrive://x", ImportError)])
def test_addresses_that_can_never_work_are_refused_at_start(url: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        VoiceStore(url)


@pytest.mark.slow
async def test_a_store_that_does_not_answer(
    store: VoiceStore, stock: Recording, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = store.register(NewVoice(recording[:-2], "Anna"))
    library = VoiceLibrary(store)
    await library.registered.refresh()
    monkeypatch.setattr(stored_profiles, "LONGEST_WAIT_S", 1.0)
    monkeypatch.setattr(stored_profiles, "PAUSE_S", 600.0)
    monkeypatch.setattr(library_module, "READ_TIMEOUT_S", 0.3)
    with monkeypatch.context() as slow:
        stall = Stall(store, slow)
        began = time.monotonic()
        assert await outcomes(library, stock) == ["miss", "hit-ram"]
        for text in "abcdefgh":
            other = Recording(stock.sha256, stock.content, text)
            assert await outcomes(library, other) == ["miss", "hit-ram"]
        assert time.monotonic() - began < 6, "it is waited for once, not for every profile"
        with pytest.raises(Unavailable, match=r"no answer within 0\.3 s"):
            await library.profile(Recording.of(voice), "m", "1", encode)
        stall.end()
    monkeypatch.setattr(library_module, "READ_TIMEOUT_S", 30.0)
    monkeypatch.setattr(stored_profiles, "LONGEST_WAIT_S", 60.0)
    library._stored._paused_until_s = 0.0
    assert await outcomes(library, Recording.of(voice)) == ["miss", "hit-ram"]
    assert store.profiles.load(voice_key(voice.sha256, "m", "1"))


@pytest.mark.slow
async def test_a_lock_that_is_got_too_late_is_given_back(
    store: VoiceStore, stock: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = voice_key(stock.sha256, "m", "1")
    lock = type(store.profiles.lock(key))
    acquire = lock.try_acquire

    def late(self: object) -> bool:
        time.sleep(0.4)
        return acquire(self)  # type: ignore[arg-type]

    monkeypatch.setattr(stored_profiles, "LONGEST_WAIT_S", 0.2)
    with monkeypatch.context() as slow:
        slow.setattr(lock, "try_acquire", late)
        assert await outcomes(VoiceLibrary(store), stock) == ["miss", "hit-ram"]
        await asyncio.sleep(0.4)
    held = store.profiles.lock(key)
    for _ in range(200):
        if held.try_acquire():
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("the lock was never given back")
    held.release()


def test_passwords_are_not_shown() -> None:
    files = RemoteFiles("memory://user:secret@host/voices?token=secret")
    assert files.place == "memory://host/voices"
