"""What a router knows of registered voices without asking the store for each request."""

from __future__ import annotations

import asyncio
import time

import pytest
from voices_toy import Stall, count_operations, fill

from deployments.core.errors import SpeechError, Unavailable
from deployments.voices import snapshot as module
from deployments.voices.registered_voice import NewVoice, RegisteredVoice, VoiceChanges
from deployments.voices.snapshot import VoiceSnapshot
from deployments.voices.store import VoiceStore


@pytest.fixture
def voice(store: VoiceStore, recording: bytes) -> RegisteredVoice:
    return store.register(NewVoice(recording, "Anna", aliases=("reader",)))


async def test_a_thousand_requests_cost_one_look(
    store: VoiceStore, voice: RegisteredVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 1000)
    monkeypatch.setattr(module, "TTL_S", 60.0)
    known = VoiceSnapshot(store)
    assert await known.find(voice.id) == voice
    done = count_operations(store, monkeypatch)
    for name in ("anna", "READER", voice.id, "Name 500"):
        for _ in range(250):
            assert await known.find(name)
    assert len(await known.cards()) == 1001
    assert done == []


async def test_a_look_at_an_unchanged_store_reads_one_file(
    store: VoiceStore, voice: RegisteredVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = VoiceSnapshot(store)
    await known.refresh()
    done = count_operations(store, monkeypatch)
    await known.refresh()
    assert done == [("read", "revision")]


async def test_what_another_process_does_is_known_soon(
    store: VoiceStore, voice: RegisteredVoice, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TTL_S", 0.05)
    here, there = VoiceSnapshot(store), VoiceStore(store.files.url)
    assert await here.find("Anna") == voice
    bea = there.register(NewVoice(recording, "Bea"))
    assert await here.find("bea") == bea, "a name that is not known is looked for at once"
    there.update(voice.id, VoiceChanges(name="Carla"))
    await asyncio.sleep(0.06)
    assert await here.find("anna") is None
    assert (await here.find("carla")).revision == 2
    there.delete(bea.id)
    await asyncio.sleep(0.06)
    assert await here.find(bea.id) is None
    assert [card.name for card in await here.cards()] == ["Carla"]


async def test_names_that_nobody_has_share_a_look(
    store: VoiceStore, voice: RegisteredVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = VoiceSnapshot(store)
    await known.refresh()
    done = count_operations(store, monkeypatch)
    assert await asyncio.gather(*(known.find(f"nobody {i}") for i in range(100))) == [None] * 100
    assert len(done) <= 2


async def test_a_look_that_began_too_early_is_not_believed(
    store: VoiceStore, voice: RegisteredVoice, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = VoiceSnapshot(store)
    await known.refresh()
    index = store.index

    def late(*arguments):
        found = index(*arguments)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(store, "index", late)
    store.update(voice.id, VoiceChanges(description="a reason to list all"))
    early = asyncio.create_task(known.refresh())
    await asyncio.sleep(0.1)
    monkeypatch.undo()
    bea = await asyncio.to_thread(store.register, NewVoice(recording, "Bea"))
    assert await known.find("Bea") == bea
    await early


@pytest.mark.slow
async def test_at_rest_nothing_is_read(
    store: VoiceStore, voice: RegisteredVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TTL_S", 0.02)
    known = VoiceSnapshot(store)
    await known.find("anna")
    done = count_operations(store, monkeypatch)
    await asyncio.sleep(0.3)
    assert done == []


async def test_a_writer_that_died_before_it_told(
    store: VoiceStore, voice: RegisteredVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = VoiceSnapshot(store)
    await known.refresh()
    fill(store, 1)
    await known.refresh()
    assert known.known("Name 0") is None
    monkeypatch.setattr(module, "LISTING_TTL_S", 0.0)
    await known.refresh()
    assert known.known("Name 0")


async def test_what_is_known_needs_no_store(
    store: VoiceStore,
    voice: RegisteredVoice,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "TTL_S", 0.01)
    known = VoiceSnapshot(store)
    await known.refresh()

    def fail(path: str) -> bytes:
        raise Unavailable("unplugged", code="voice_store_unavailable")

    with monkeypatch.context() as broken:
        broken.setattr(store.files, "read", fail)
        for _ in range(5):
            await asyncio.sleep(0.02)
            assert await known.find("anna") == voice
            assert await known.cards() == (voice.card,)
        with pytest.raises(Unavailable, match="unplugged") as caught:
            await known.find("nobody")
        assert caught.value.code == "voice_store_unavailable"
    assert caplog.text.count("unplugged") == 1
    assert await known.find("nobody") is None


async def test_a_store_that_does_not_answer(
    store: VoiceStore, voice: RegisteredVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = VoiceSnapshot(store)
    await known.refresh()
    monkeypatch.setattr(module, "TTL_S", 0.01)
    monkeypatch.setattr(module, "SHORT_WAIT_S", 0.05)
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.1)
    with monkeypatch.context() as slow:
        stall = Stall(store, slow)
        await asyncio.sleep(0.02)
        assert await known.find("anna") == voice
        with pytest.raises(Unavailable, match=r"no answer within 0\.1 s"):
            await known.find("nobody")
        began = time.monotonic()
        for _ in range(100):
            assert await known.find("anna") == voice
        assert time.monotonic() - began < 2, "nobody waits for a look that others have waited for"
        stall.end()
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 60.0)
    assert await known.find("nobody") is None, "it answers again"


async def test_names_with_another_meaning_wait_only_for_the_first_look(
    store: VoiceStore, voice: RegisteredVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await VoiceSnapshot(store).known_once_read("anna") == voice
    monkeypatch.setattr(module, "SHORT_WAIT_S", 0.05)
    stall = Stall(store, monkeypatch)
    known = VoiceSnapshot(store)
    began = time.monotonic()
    for _ in range(50):
        assert await known.known_once_read("anna") is None
    assert time.monotonic() - began < 2
    stall.end()


async def test_damaged_manifests(store: VoiceStore, voice: RegisteredVoice) -> None:
    store.files.write(f"voices/{voice.id}/voice.json", b"{")
    known = VoiceSnapshot(store)
    with pytest.raises(SpeechError) as caught:
        await known.find(voice.id)
    assert caught.value.code == "voice_damaged"
    assert await known.cards() == ()


async def test_gone_recordings_are_announced(
    store: VoiceStore, voice: RegisteredVoice, recording: bytes
) -> None:
    gone: list[frozenset[str]] = []
    known = VoiceSnapshot(store, gone.append)
    twin = store.register(NewVoice(recording, "Twin"))
    await known.refresh()
    store.delete(voice.id)
    await known.refresh()
    assert gone == []
    store.delete(twin.id)
    await known.refresh()
    assert gone == [{voice.sha256}]
