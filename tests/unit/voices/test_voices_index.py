"""Many voices: what is listed, found and changed without reading them all again and again."""

from __future__ import annotations

import time

import fsspec
import numpy as np
import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from voices_toy import count_operations, fill

from deployments.core.errors import Conflict, NotFound, Unavailable
from deployments.voices.profile import VoiceProfile, voice_key
from deployments.voices.registered_voice import NewVoice, RegisteredVoice, VoiceChanges
from deployments.voices.remote_files import RemoteFiles
from deployments.voices.store import VoiceStore


def test_only_what_changed_is_read_again(
    store: VoiceStore, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 20)
    first = store.index()
    done = count_operations(store, monkeypatch)
    assert store.index(first) is first
    assert [paths for name, paths in done if name == "read_all"] == [[]]

    anna = store.register(NewVoice(recording, "Anna", aliases=("A",)))
    renamed = store.update("voice_3", VoiceChanges(name="Three"))
    store.delete("voice_4")
    done.clear()
    second = store.index(first)
    (paths,) = (paths for name, paths in done if name == "read_all")
    assert sorted(paths) == sorted([f"voices/{anna.id}/voice.json", "voices/voice_3/voice.json"])
    assert second.find("a") == anna
    assert second.find("three") == renamed
    assert second.find("name 3") is None
    assert second.find("voice_4") is None
    assert second.find("NAME 5") == first.find("voice_5")
    assert first.find("voice_4"), "an index never changes"
    assert len(second.voices) == len(second.cards) == 20


def test_every_change_is_announced(store: VoiceStore, recording: bytes) -> None:
    revisions = {store.revision()}
    voice = store.register(NewVoice(recording, "Anna"))
    revisions.add(store.revision())
    store.update(voice.id, VoiceChanges(description="warm"))
    revisions.add(store.revision())
    store.delete(voice.id)
    assert len({*revisions, store.revision()}) == 4


def test_an_unannounced_change_is_a_change(
    store: VoiceStore, recording: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = store.files.write

    def fail(path: str, data: bytes) -> None:
        if path == "revision":
            raise Unavailable("gone")
        write(path, data)

    monkeypatch.setattr(store.files, "write", fail)
    voice = store.register(NewVoice(recording, "Anna"))
    assert store.index().find("anna") == voice
    assert "could not be announced" in caplog.text


@pytest.mark.slow
def test_ten_thousand_voices(store: VoiceStore, recording: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 10_000)
    large = VoiceStore(store.files.url, max_voices=10_001)
    began = time.process_time()
    index = large.index()
    assert len(index.cards) == 10_000
    assert index.find("NAME 9999") == index.find("voice_9999") == index.find("Alias-9999")
    done = count_operations(large, monkeypatch)
    voice = large.register(NewVoice(recording, "Anna"))
    with pytest.raises(Conflict, match="10001 voices"):
        large.register(NewVoice(recording, "Bea"))
    assert large.find("anna") == voice
    assert large.find("anna").id == voice.id
    large.update(voice.id, VoiceChanges(name="Bea"))
    large.delete(voice.id)
    with pytest.raises(NotFound):
        large.find("bea")
    assert not [path for name, path in done if name in ("stamps", "read_all")], (
        "nothing of the others is read"
    )
    assert len(done) < 70
    again = large.index(index)
    assert len(again.cards) == 10_000
    assert time.process_time() - began < 3


def test_deleting_reads_nothing_of_other_voices(
    store: VoiceStore, recording: bytes, speech, wav, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [store.register(NewVoice(wav(speech(1.5, seed=seed)), f"Other {seed}")) for seed in range(5)]
    voice = store.register(NewVoice(recording, "Anna"))
    done = count_operations(store, monkeypatch)
    store.delete(voice.id)
    touched = [path for _, path in done if any(other.id in str(path) for other in others)]
    assert touched == []


def test_stores_from_before_recordings_were_marked(store: VoiceStore, recording: bytes) -> None:
    """The worst that may happen is that a profile is made again."""
    first, twin = (store.register(NewVoice(recording, name)) for name in ("First", "Twin"))
    store.files.delete("recordings")
    store.files.delete("revision")
    profile = VoiceProfile({"x": np.zeros(3)}, voice_key(twin.sha256, "m", "1"))
    store.profiles.save(profile)
    assert store.revision() == ""
    assert len(store.index().voices) == 2
    assert store.exists(twin)
    store.delete(first.id)
    assert store.find("twin") == twin
    assert store.audio(twin) == recording
    store.profiles.save(profile)
    store.delete(twin.id)
    assert store.profiles.load(profile.key) is None


def test_a_mark_left_by_a_crash_does_not_keep_profiles(store: VoiceStore, recording: bytes) -> None:
    voice = store.register(NewVoice(recording, "Anna"))
    store.files.write(f"recordings/{voice.sha256}/voice_gone", b"")
    assert store.uses(voice.sha256)
    store.delete(voice.id)
    assert not store.uses(voice.sha256)
    assert store.files.names(f"recordings/{voice.sha256}") == []


@pytest.mark.parametrize("missing", [False, True])
def test_object_stores_are_read_at_once(tmp_path, *, missing: bool) -> None:
    """Their file systems are asynchronous in fsspec, and read many objects with one call."""
    url = f"memory://{tmp_path.name}-at-once"
    store = VoiceStore(url)
    fill(store, 50)
    files = RemoteFiles(url)
    plain, root = fsspec.core.url_to_fs(url)
    files._reached = AsyncFileSystemWrapper(plain, asynchronous=False), root
    assert files._reached[0].async_impl
    paths = [f"voices/voice_{i}/voice.json" for i in range(50)]
    found = files.read_all([*paths, "voices/nobody/voice.json"] if missing else paths)
    assert list(found) == paths
    assert RegisteredVoice.from_json(found[paths[7]]).name == "Name 7"
    assert files.read_all([]) == {}


def test_a_manifest_that_cannot_be_read_is_no_voice_that_is_gone(store: VoiceStore, monkeypatch) -> None:
    files = RemoteFiles("memory://nowhere")

    class Broken:
        async_impl = True

        @staticmethod
        def cat(paths: list[str], on_error: str) -> dict[str, object]:
            return {path: PermissionError("no access") for path in paths}

    files._reached = Broken(), ""
    with pytest.raises(Unavailable, match="no access"):
        files.read_all(["voices/a/voice.json"])
