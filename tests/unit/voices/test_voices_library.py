from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import numpy as np
import pytest

from deployments.core.errors import InvalidRequest, NotFound, SpeechError, Unavailable
from deployments.voices.decode import decode_reference
from deployments.voices.library import VoiceLibrary
from deployments.voices.profile import VoiceProfile, voice_key
from deployments.voices.reference import ReferenceAudio
from deployments.voices.store import VoiceStore
from deployments.voices.voice import Voice


class Encoder:
    def __init__(self, takes_s: float = 0.02, error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.takes_s = takes_s
        self.error = error

    async def __call__(self, audio: ReferenceAudio) -> VoiceProfile:
        self.calls.append(audio.sha256)
        await asyncio.sleep(self.takes_s)
        if self.error:
            raise self.error
        return VoiceProfile({"mean": audio.mono()[:100], "rate": np.array(audio.sample_rate_hz)})


@pytest.fixture
def voice(store: VoiceStore, recording: bytes) -> Voice:
    return store.register(recording, name="Anna")


async def test_ram_disk_encoder(store: VoiceStore, voice: Voice) -> None:
    encode = Encoder()
    library = VoiceLibrary(store)
    profile, outcome = await library.profile(voice, "m", "1", encode)
    assert outcome == "miss"
    assert profile.key == voice_key(voice.sha256, "m", "1")
    again, outcome = await library.profile(voice, "m", "1", encode)
    assert outcome == "hit-ram"
    assert again is profile
    restarted = VoiceLibrary(VoiceStore(store.files.url))
    loaded, outcome = await restarted.profile(await restarted.find("anna"), "m", "1", encode)
    assert outcome == "hit-disk"
    for name in ("mean", "rate"):
        np.testing.assert_array_equal(loaded[name], profile[name])
    assert len(encode.calls) == 1
    assert (await library.profile(voice, "m", "2", encode))[1] == "miss"
    assert (await library.profile(voice, "other", "1", encode))[1] == "miss"
    assert len(encode.calls) == 3


async def test_fifty_first_uses_encode_once(store: VoiceStore, voice: Voice) -> None:
    encode = Encoder(0.1)
    library = VoiceLibrary(store)
    results = await asyncio.gather(*(library.profile(voice, "m", "1", encode) for _ in range(50)))
    assert len(encode.calls) == 1
    assert len({id(profile) for profile, _ in results}) == 1
    assert {outcome for _, outcome in results} == {"miss"}


async def test_many_voices_at_once(store: VoiceStore, speech: Callable, wav: Callable) -> None:
    voices = [store.register(wav(speech(1.5, seed=seed)), name=str(seed)) for seed in range(8)]
    encode = Encoder(0.05)
    libraries = [VoiceLibrary(VoiceStore(store.files.url)) for _ in range(3)]
    uses = [
        library.profile(voice, "m", "1", encode)
        for _ in range(5)
        for voice in voices
        for library in libraries
    ]
    results = await asyncio.gather(*uses)
    assert len(encode.calls) == 8
    assert {profile.key for profile, _ in results} == {voice_key(voice.sha256, "m", "1") for voice in voices}


async def test_a_cancelled_caller_leaves_the_others_alone(store: VoiceStore, voice: Voice) -> None:
    encode = Encoder(0.2)
    library = VoiceLibrary(store)
    waiters = [asyncio.create_task(library.profile(voice, "m", "1", encode)) for _ in range(5)]
    await asyncio.sleep(0.05)
    for waiter in waiters[:4]:
        waiter.cancel()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[:4])
    assert isinstance(results[4], tuple)
    assert len(encode.calls) == 1


async def test_all_callers_cancelled(
    store: VoiceStore, voice: Voice, caplog: pytest.LogCaptureFixture
) -> None:
    library = VoiceLibrary(store)
    for encode in (Encoder(0.1, InvalidRequest("no voice heard")), Encoder(0.1)):
        waiter = asyncio.create_task(library.profile(voice, "m", "1", encode))
        await asyncio.sleep(0.05)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        while library._running:
            await asyncio.sleep(0.01)
    assert (await library.profile(voice, "m", "1", Encoder()))[1] == "hit-ram"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_errors_reach_all_and_are_not_kept(store: VoiceStore, voice: Voice) -> None:
    library = VoiceLibrary(store)
    encode = Encoder(0.05, InvalidRequest("no voice heard"))
    uses = (library.profile(voice, "m", "1", encode) for _ in range(10))
    results = await asyncio.gather(*uses, return_exceptions=True)
    assert [str(result) for result in results] == ["no voice heard"] * 10
    assert len(encode.calls) == 1
    encode.error = None
    assert (await library.profile(voice, "m", "1", encode))[1] == "miss"


async def test_one_off_recordings_are_never_written(store: VoiceStore, recording: bytes) -> None:
    library = VoiceLibrary(store)
    encode = Encoder()
    audio = decode_reference(recording)
    outcomes = [(await library.profile(audio, "m", "1", encode))[1] for _ in range(2)]
    assert outcomes == ["miss", "hit-ram"]
    assert store.files.names("profiles") == []
    assert (await library.profile(audio, "m", "1", encode, reference_text="hello"))[1] == "miss"
    assert len(encode.calls) == 2


async def test_one_off_use_of_a_registered_recording(
    store: VoiceStore, voice: Voice, recording: bytes
) -> None:
    encode = Encoder()
    await VoiceLibrary(store).profile(voice, "m", "1", encode)
    assert (await VoiceLibrary(store).profile(decode_reference(recording), "m", "1", encode))[1] == "hit-disk"


async def test_reference_text_makes_another_profile(store: VoiceStore, voice: Voice) -> None:
    library = VoiceLibrary(store)
    encode = Encoder()
    await library.profile(voice, "m", "1", encode)
    changed = await asyncio.to_thread(store.update, voice.id, reference_text="hello")
    assert (await library.profile(changed, "m", "1", encode))[1] == "miss"
    renamed = await asyncio.to_thread(store.update, voice.id, name="Bea")
    assert (await library.profile(renamed, "m", "1", encode))[1] == "hit-ram"


async def test_deleted_voices_are_gone_for_every_replica(store: VoiceStore, voice: Voice) -> None:
    encode = Encoder()
    here, there = VoiceLibrary(store), VoiceLibrary(VoiceStore(store.files.url))
    for library in (here, there):
        await library.profile(await library.find("Anna"), "m", "1", encode)
    await here.delete(voice.id)
    assert here.ram.stats().items == 0
    for library in (here, there):
        with pytest.raises(NotFound):
            await library.find("Anna")
    with pytest.raises(NotFound):
        await VoiceLibrary(store).profile(voice, "m", "1", encode)


async def test_other_recording_under_the_same_name(store: VoiceStore, voice: Voice, speech, wav) -> None:
    encode = Encoder()
    here, there = VoiceLibrary(store), VoiceLibrary(VoiceStore(store.files.url))
    old, _ = await there.profile(await there.find("Anna"), "m", "1", encode)
    await here.delete(voice.id)
    store.register(wav(speech(2, seed=5)), name="Anna")
    new, outcome = await there.profile(await there.find("Anna"), "m", "1", encode)
    assert outcome == "miss"
    assert new.key != old.key


async def test_deleted_while_it_is_encoded(store: VoiceStore, voice: Voice) -> None:
    library = VoiceLibrary(store)
    use = asyncio.create_task(library.profile(voice, "m", "1", Encoder(0.2)))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(store.delete, voice.id)
    assert (await use)[1] == "miss"
    assert store.files.names("profiles") == []


async def test_damaged_profile_is_made_again(store: VoiceStore, voice: Voice) -> None:
    encode = Encoder()
    await VoiceLibrary(store).profile(voice, "m", "1", encode)
    folder = f"profiles/{voice.sha256}"
    (name,) = (name for name in store.files.names(folder) if name.endswith("safetensors"))
    store.files.write(f"{folder}/{name}", b"half")
    outcomes = [(await VoiceLibrary(store).profile(voice, "m", "1", encode))[1] for _ in range(2)]
    assert outcomes == ["miss", "hit-disk"]


async def test_full_disk_is_no_reason_to_fail(
    store: VoiceStore, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(profile: VoiceProfile) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(store.profiles, "save", fail)
    library = VoiceLibrary(store)
    outcomes = [(await library.profile(voice, "m", "1", Encoder()))[1] for _ in range(2)]
    assert outcomes == ["miss", "hit-ram"]


async def test_preload(store: VoiceStore, voice: Voice) -> None:
    library = VoiceLibrary(store)
    outcomes = await library.preload(["Anna", voice.id, "nobody"], "m", "1", Encoder())
    assert outcomes["Anna"] == "miss"
    assert outcomes[voice.id] == "hit-ram"
    assert isinstance(outcomes["nobody"], NotFound)
    failed = await library.preload(["Anna"], "m", "2", Encoder(error=SpeechError("broken")))
    assert isinstance(failed["Anna"], SpeechError)


async def test_waits_no_longer_than_its_timeout(store: VoiceStore, voice: Voice) -> None:
    library = VoiceLibrary(store, lock_timeout_s=0.1)
    lock = store.files.lock(voice_key(voice.sha256, "m", "1"))
    assert lock.try_acquire()
    with pytest.raises(Unavailable):
        await library.profile(voice, "m", "1", Encoder())
    lock.release()
    assert (await library.profile(voice, "m", "1", Encoder()))[1] == "miss"


async def test_small_ram(store: VoiceStore, voice: Voice) -> None:
    library = VoiceLibrary(store, ram_bytes=100)
    outcomes = [(await library.profile(voice, "m", "1", Encoder()))[1] for _ in range(2)]
    assert outcomes == ["miss", "hit-disk"]
