from __future__ import annotations

import contextlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.core.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    SpeechError,
    Unavailable,
    UnsupportedMedia,
)
from deployments.voices.decode import decode_reference
from deployments.voices.directory_files import DirectoryFiles
from deployments.voices.profile import VoiceProfile, voice_key
from deployments.voices.registered_voice import NewVoice, RegisteredVoice, VoiceChanges, check_id
from deployments.voices.store import VoiceStore


def profile_of(voice: RegisteredVoice, version: str = "1") -> VoiceProfile:
    return VoiceProfile({"x": np.arange(1000)}, voice_key(voice.sha256, "model", version))


def all_files(store: VoiceStore) -> list[str]:
    """What is left of voices: locks and the mark of the last change belong to the store."""
    if isinstance(store.files, DirectoryFiles):
        paths = [path.as_posix() for path in store.files.root.rglob("*") if path.is_file()]
    else:
        files, root = fsspec.core.url_to_fs(store.files.url)
        paths = files.find(root)
    return [path for path in paths if "/locks/" not in path and not path.endswith("/revision")]


def listed(store: VoiceStore) -> list[RegisteredVoice]:
    return list(store.index().voices)


def test_register_find_list(store: VoiceStore, recording: bytes) -> None:
    voice = store.register(
        NewVoice(
            recording,
            "  Anna ",
            description="warm",
            language="en",
            consent="consent_1",
            reference_text="hello",
            aliases=("Änne", "reader"),
        )
    )
    assert (voice.name, voice.duration_s, voice.sample_rate_hz) == ("Anna", 4.0, 24_000)
    for name in (voice.id, "anna", "ANNA", "äNNE", "A\u0308nne", " reader "):
        assert store.find(name) == voice
    assert store.get(voice.id) == voice
    assert listed(store) == [voice]
    assert store.audio(voice) == recording
    assert decode_reference(store.audio(voice)).sha256 == voice.sha256
    assert RegisteredVoice.from_json(voice.to_json()) == voice


def test_unknown_voices(store: VoiceStore) -> None:
    assert listed(store) == []
    for name in ("nobody", "", "../etc", "x" * 5000, "\0", "\ud800"):
        with pytest.raises(NotFound) as error:
            store.find(name)
        assert error.value.code == "voice_not_found"
    with pytest.raises(NotFound):
        store.get("../..")
    with pytest.raises(NotFound):
        store.delete("nobody")
    with pytest.raises(NotFound):
        store.update("nobody", VoiceChanges(name="x"))


def test_taken_names(store: VoiceStore, recording: bytes) -> None:
    anna = store.register(NewVoice(recording, "Anna", aliases=("reader",)), voice_id="anna-1")
    for name, aliases in (("anna", ()), ("READER", ()), ("ANNA-1", ()), ("Bea", ("Anna",))):
        with pytest.raises(Conflict) as error:
            store.register(NewVoice(recording, name, aliases=aliases))
        assert (error.value.status, error.value.code) == (409, "voice_exists")
    for taken in ("anna-1", "anna", "Anna-1"):
        with pytest.raises(Conflict) as error:
            store.register(NewVoice(recording, "other"), voice_id=taken)
        assert error.value.param == "voice_id"
    assert listed(store) == [anna]


def test_update(store: VoiceStore, recording: bytes) -> None:
    anna = store.register(NewVoice(recording, "Anna", aliases=("one", "two")))
    store.register(NewVoice(recording, "Bea"))
    renamed = store.update(anna.id, VoiceChanges(name="Carla", aliases=("two", "three"), description="new"))
    assert (renamed.name, renamed.revision, renamed.aliases) == ("Carla", 2, ("two", "three"))
    for name in ("carla", "two", "three", anna.id):
        assert store.find(name) == renamed
    for name in ("anna", "one"):
        with pytest.raises(NotFound):
            store.find(name)
    with pytest.raises(Conflict):
        store.update(anna.id, VoiceChanges(name="bea"))
    assert store.find("carla") == renamed
    assert store.update(anna.id, VoiceChanges(name="CARLA")).name == "CARLA"
    assert store.register(NewVoice(recording, "anna")).name == "anna"


def test_delete_takes_everything_along(store: VoiceStore, recording: bytes) -> None:
    voice = store.register(NewVoice(recording, "Anna", aliases=("one",)))
    store.profiles.save(profile_of(voice))
    store.profiles.save(profile_of(voice, "2"))
    store.delete(voice.id)
    assert all_files(store) == []
    with pytest.raises(NotFound):
        store.find("Anna")
    with pytest.raises(NotFound):
        store.audio(voice)
    assert not store.exists(voice)
    assert store.register(NewVoice(recording, "Anna")).id != voice.id


def test_delete_spares_the_profiles_of_a_twin(store: VoiceStore, recording: bytes) -> None:
    anna = store.register(NewVoice(recording, "Anna"))
    twin = store.register(NewVoice(recording, "Twin"))
    store.profiles.save(profile_of(anna))
    store.delete(anna.id)
    assert store.profiles.load(profile_of(twin).key)
    store.delete(twin.id)
    assert all_files(store) == []


def test_refused_recordings_leave_nothing(store: VoiceStore, speech, wav) -> None:
    with pytest.raises(UnsupportedMedia) as error:
        store.register(NewVoice(b"hello", "Anna"))
    assert error.value.param == "audio_sample"
    with pytest.raises(InvalidRequest):
        store.register(NewVoice(wav(speech(0.1)), "Anna"))
    assert all_files(store) == []


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "a\0b", "\ud800"])
def test_impossible_names(store: VoiceStore, recording: bytes, name: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        store.register(NewVoice(recording, name))
    assert error.value.param == "name"
    assert all_files(store) == []


def test_a_long_recording_is_kept_whole_and_its_transcript_is_not(store: VoiceStore, speech, wav) -> None:
    long = wav(speech(40.0, 8_000), 8_000)
    voice = store.register(NewVoice(long, "Long", reference_text="all that is said"))
    assert store.audio(voice) == long
    assert voice.duration_s <= 15
    assert voice.reference_text == ""
    assert any("only the best part is used" in warning for warning in voice.warnings)
    assert any("transcript is not used" in warning for warning in voice.warnings)
    silent = wav(np.concatenate([np.zeros((1, 16 * 24_000), np.float32), speech()], axis=1))
    kept = store.register(NewVoice(silent, "Late", reference_text="all that is said"))
    assert kept.reference_text == "all that is said"
    assert len(store.register(NewVoice(long, "No text")).warnings) == len(voice.warnings) - 1


def test_limit(tmp_path: Path, recording: bytes) -> None:
    store = VoiceStore(str(tmp_path), max_voices=2)
    first = store.register(NewVoice(recording, "1"))
    store.register(NewVoice(recording, "2"))
    with pytest.raises(Conflict, match="2 voices"):
        store.register(NewVoice(recording, "3"))
    store.delete(first.id)
    store.register(NewVoice(recording, "3"))


@given(
    st.one_of(
        st.text(max_size=80), st.sampled_from(["..", ".", "a/b", "../x", "a\\b", "C:", "a\n", "%2e%2e", "~"])
    )
)
def test_ids_are_safe_paths(voice_id: str) -> None:
    try:
        check_id(voice_id)
    except InvalidRequest:
        return
    assert voice_id.isascii()
    assert os.path.normpath(f"/root/{voice_id}") == f"/root/{voice_id}"
    assert voice_id == Path(voice_id).name
    assert all(character.isalnum() or character in "-_" for character in voice_id)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=60))
def test_no_name_leaves_the_store(tmp_path: Path, recording: bytes, name: str) -> None:
    root = tmp_path / "inside" / "voices"
    store = VoiceStore(str(root))
    attempts = (
        lambda: store.register(NewVoice(recording, name)),
        lambda: store.register(NewVoice(recording, "plain"), voice_id=name),
        lambda: store.find(name),
    )
    for attempt in attempts:
        with contextlib.suppress(InvalidRequest, NotFound):
            store.delete(attempt().id)
    assert all(path.is_relative_to(root) for path in tmp_path.rglob("*") if path.is_file())


def test_crash_before_the_manifest(
    store: VoiceStore, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = store.files.write

    def crash(path: str, data: bytes) -> None:
        if path.endswith("voice.json"):
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(store.files, "write", crash)
    with pytest.raises(KeyboardInterrupt):
        store.register(NewVoice(recording, "Anna"), voice_id="anna")
    monkeypatch.undo()
    assert listed(store) == []
    with pytest.raises(NotFound):
        store.find("Anna")
    assert store.register(NewVoice(recording, "Anna"), voice_id="anna") == store.find("anna")


def test_crash_while_deleting(store: VoiceStore, recording: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = store.register(NewVoice(recording, "Anna"))
    delete = store.files.delete

    def crash(path: str) -> None:
        if path.startswith("names/"):
            raise KeyboardInterrupt
        delete(path)

    monkeypatch.setattr(store.files, "delete", crash)
    with pytest.raises(KeyboardInterrupt):
        store.delete(voice.id)
    monkeypatch.undo()
    with pytest.raises(NotFound):
        store.find("Anna")
    store.delete(voice.id)
    store.register(NewVoice(recording, "Anna"))


def with_date(date: object) -> bytes:
    voice = RegisteredVoice("x", "X", "0" * 64, "audio/wav", 1, 2.0, 8000)
    return json.dumps(json.loads(voice.to_json()) | {"created_at": date}).encode()


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"id": "x"}', b"\xff\xfe", with_date("soon"), with_date(None)]
)
def test_damaged_manifest(store: VoiceStore, recording: bytes, damage: bytes) -> None:
    good = store.register(NewVoice(recording, "Good"))
    bad = store.register(NewVoice(recording, "Bad"))
    store.files.write(f"voices/{bad.id}/voice.json", damage)
    assert listed(store) == [good]
    for find in (store.find, store.index().find):
        with pytest.raises(SpeechError, match="damaged") as error:
            find(bad.id)
        assert error.value.code == "voice_damaged"
    with pytest.raises(SpeechError, match="damaged"):
        store.find("Bad")
    store.delete(bad.id)
    assert store.register(NewVoice(recording, "Bad"))


def test_damaged_recording(store: VoiceStore, recording: bytes) -> None:
    voice = store.register(NewVoice(recording, "Anna"))
    store.files.write(f"voices/{voice.id}/{voice.sha256}.audio", recording[:-2])
    with pytest.raises(SpeechError, match="damaged"):
        store.audio(voice)


def test_manifest_of_a_later_version(store: VoiceStore, recording: bytes) -> None:
    voice = store.register(NewVoice(recording, "Anna"))
    values = json.loads(voice.to_json()) | {"mood": "later"}
    store.files.write(f"voices/{voice.id}/voice.json", json.dumps(values).encode())
    assert store.find("anna") == voice


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "manifest", "hash"])
def test_damaged_profiles_are_put_aside(store: VoiceStore, recording: bytes, damage: str) -> None:
    voice = store.register(NewVoice(recording, "Anna"))
    profile = profile_of(voice)
    store.profiles.save(profile)
    folder = f"profiles/{voice.sha256}"
    data_name, manifest_name = (
        next(name for name in store.files.names(folder) if name.endswith(suffix))
        for suffix in ("safetensors", "json")
    )
    data = store.files.read(f"{folder}/{data_name}") or b""
    if damage == "truncate":
        store.files.write(f"{folder}/{data_name}", data[:-100])
    elif damage == "flip":
        store.files.write(f"{folder}/{data_name}", data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "remove":
        store.files.delete(f"{folder}/{data_name}")
    elif damage == "manifest":
        store.files.write(f"{folder}/{manifest_name}", b'{"sha256"')
    else:
        store.files.write(f"{folder}/{manifest_name}", b'{"sha256": "../../x"}')
    assert store.profiles.load(profile.key) is None
    assert manifest_name in store.files.names(f"quarantine/{voice.sha256}")
    assert store.profiles.load(profile.key) is None
    store.profiles.save(profile)
    np.testing.assert_array_equal(store.profiles.load(profile.key)["x"], profile["x"])
    store.delete(voice.id)
    assert all_files(store) == []


def test_crash_between_arrays_and_manifest(
    store: VoiceStore, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = store.register(NewVoice(recording, "Anna"))
    write = store.files.write

    def crash(path: str, data: bytes) -> None:
        if path.endswith(".json"):
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(store.files, "write", crash)
    with pytest.raises(KeyboardInterrupt):
        store.profiles.save(profile_of(voice))
    monkeypatch.undo()
    assert store.profiles.load(profile_of(voice).key) is None
    store.profiles.save(profile_of(voice))
    assert store.profiles.load(profile_of(voice).key)


def test_interrupted_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = VoiceStore(str(tmp_path)).files
    files.write("a/b", b"old")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Unavailable, match="disk full"):
        files.write("a/b", b"new")
    assert files.read("a/b") == b"old"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_one_name_many_registrations(store: VoiceStore, recording: bytes) -> None:
    def register(_: int) -> RegisteredVoice | Conflict:
        try:
            return VoiceStore(store.files.url).register(NewVoice(recording, "Anna"))
        except Conflict as error:
            return error

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(register, range(12)))
    (winner,) = (result for result in results if isinstance(result, RegisteredVoice))
    assert listed(store) == [winner]


def test_default_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: bytes) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    VoiceStore().register(NewVoice(recording, "Anna"))
    assert (tmp_path / ".cache" / "voicegraph" / "voices" / "voices").is_dir()
