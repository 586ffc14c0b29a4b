"""Which voice a request means, and what it costs to know."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from voices_toy import count_operations, fill

from deployments.core.catalogue import OPENAI_VOICES, VoiceCard
from deployments.core.errors import InvalidRequest, NotFound, SpeechError, TooLarge
from deployments.core.speech import SpeechRequest
from deployments.voices import library as library_module
from deployments.voices import one_off, snapshot
from deployments.voices.decode import MAX_BYTES, decode_reference
from deployments.voices.library import VoiceLibrary
from deployments.voices.profile import EncodedProfile, VoiceProfile
from deployments.voices.reference import ReferenceAudio
from deployments.voices.registered_voice import NewVoice
from deployments.voices.resolver import VoiceResolver
from deployments.voices.store import VoiceStore


def request(voice: str | None = None, audio: bytes | None = None, text: str | None = None) -> SpeechRequest:
    return SpeechRequest("r", "hello", voice=voice, reference_audio=audio, reference_text=text)


def resolver(
    folder: Path, aliases: dict[str, str] | None = None, default: str | None = None
) -> VoiceResolver:
    return VoiceResolver(
        "m",
        folder,
        aliases=aliases or {},
        default=default,
        reference_warnings=lambda duration_s: (f"only 2 s of {duration_s:g} s are heard",),
    )


async def encode(audio: ReferenceAudio) -> EncodedProfile:
    return EncodedProfile(VoiceProfile({"length": np.array(audio.samples.shape[1])}), "1")


class Decoded(list[str]):
    """Fields of the requests whose recordings were decoded."""

    def __call__(self, data: bytes, *, param: str) -> ReferenceAudio:
        self.append(param)
        return decode_reference(data, param=param)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    calls = Decoded()
    monkeypatch.setattr(library_module, "decode_reference", calls)
    monkeypatch.setattr(one_off, "decode_reference", calls)
    return calls


@pytest.fixture
def folder(tmp_path: Path, speech, wav) -> Path:
    folder = tmp_path / "checkpoint" / "voices"
    folder.mkdir(parents=True)
    for number, name in enumerate(["anna.wav", "bert_the_old.flac"]):
        (folder / name).write_bytes(wav(speech(1.5, seed=number), kind="FLAC" if "flac" in name else "WAV"))
    (folder / "README.txt").write_text("no voice")
    return folder


@pytest.fixture
def library(store: VoiceStore) -> VoiceLibrary:
    return VoiceLibrary(store)


async def test_stock_voices_aliases_and_the_default(folder: Path, library: VoiceLibrary) -> None:
    voices = resolver(folder)
    assert [card.id for card in voices.stock_cards] == ["anna", "bert_the_old"]
    assert voices.default == "anna"
    every_second = OPENAI_VOICES[1::2]
    assert voices.stock_cards[1] == VoiceCard(
        "bert_the_old", "Bert The Old", "m", "mul", aliases=tuple(every_second)
    )
    for name, meant in ((None, "anna"), ("bert_the_old", "bert_the_old"), ("ash", "bert_the_old")):
        found = await voices.resolve(request(name), library)
        path = next(folder.glob(f"{meant}.*"))
        assert found.card.id == meant
        assert found.recording.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert found.recording.storable
        assert found.warnings == ()


async def test_configured_aliases_replace_those_of_openai(folder: Path, library: VoiceLibrary) -> None:
    voices = resolver(folder, {"nova": "bert_the_old", "ghost": "nobody"}, "bert_the_old")
    assert voices.default == "bert_the_old"
    assert (await voices.resolve(request("nova"), library)).card.id == "bert_the_old"
    for name in ("ash", "ghost", "nobody", "../../etc/passwd", "\ud800"):
        with pytest.raises(NotFound, match="does not exist in model 'm'") as caught:
            await voices.resolve(request(name), library)
        assert (caught.value.param, caught.value.code) == ("voice", "voice_not_found")


async def test_a_model_without_voices(tmp_path: Path, library: VoiceLibrary) -> None:
    bare = resolver(tmp_path / "missing")
    assert (bare.stock_cards, bare.default) == ((), "")
    with pytest.raises(InvalidRequest, match="no default voice") as caught:
        await bare.resolve(request(), library)
    assert caught.value.param == "voice"


async def test_registered_hides_stock_hides_alias(
    folder: Path, library: VoiceLibrary, recording: bytes
) -> None:
    hidden = library.store.register(NewVoice(recording, "anna", language="en", reference_text="what is said"))
    found = await resolver(folder).resolve(request("anna"), library)
    assert found.card == VoiceCard(hidden.id, "anna", "m", "en", uploaded=True)
    assert found.recording.sha256 == hidden.sha256
    assert found.recording.reference_text == "what is said"
    by_alias = await resolver(folder, {"nova": "anna"}).resolve(request("nova"), library)
    assert by_alias.card.id == hidden.id, "an alias may lead to a registered voice"
    stock = await resolver(folder, {"bert_the_old": "anna"}).resolve(request("bert_the_old"), library)
    assert stock.card.id == "bert_the_old"
    default = await resolver(folder, default=hidden.id).resolve(request(), library)
    assert default.card.id == hidden.id


async def test_a_known_stock_voice_is_neither_read_nor_decoded(
    folder: Path, library: VoiceLibrary, decoded: Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    voices = resolver(folder)
    first = await voices.resolve(request("anna"), library)
    assert decoded == [], "its hash is enough to look for a profile"
    assert (await library.profile(first.recording, "m", "1", encode)).outcome == "miss"
    assert decoded == ["voice"]
    monkeypatch.setattr(snapshot, "TTL_S", 60.0)
    done = count_operations(library.store, monkeypatch)
    monkeypatch.setattr(Path, "read_bytes", None)
    for _ in range(50):
        found = await voices.resolve(request("anna"), library)
        assert (await library.profile(found.recording, "m", "1", encode)).outcome == "hit-ram"
    assert decoded == ["voice"]
    assert done == []


async def test_a_restart_decodes_nothing(folder: Path, library: VoiceLibrary, decoded: Decoded) -> None:
    for outcome in ("miss", "hit-disk"):
        fresh = VoiceLibrary(library.store)
        found = await resolver(folder).resolve(request(), fresh)
        assert (await fresh.profile(found.recording, "m", "1", encode)).outcome == outcome
    assert decoded == ["voice"]


async def test_a_stock_recording_that_is_replaced(
    folder: Path, library: VoiceLibrary, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.voices.resolver.CHECK_S", 0.0)
    voices, path = resolver(folder), folder / "anna.wav"
    old = await voices.resolve(request("anna"), library)
    path.write_bytes(recording)
    found = await library.profile(old.recording, "m", "1", encode)
    new = await voices.resolve(request("anna"), library)
    assert new.recording.sha256 == hashlib.sha256(recording).hexdigest() != old.recording.sha256
    assert found.profile.key.startswith(new.recording.sha256), "filed under what was encoded"
    assert (await library.profile(new.recording, "m", "1", encode)).outcome == "hit-ram"
    os.unlink(path)
    assert (await voices.resolve(request("anna"), library)).recording.sha256 == new.recording.sha256
    with pytest.raises(SpeechError, match=r"anna\.wav .*cannot be read .*Restore it"):
        await library.profile(new.recording, "m", "2", encode)


async def test_what_is_said_in_a_stock_recording_stands_beside_it(
    folder: Path, library: VoiceLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.voices.resolver.CHECK_S", 0.0)
    voices = resolver(folder)
    assert (await voices.resolve(request("anna"), library)).recording.reference_text == ""
    for said in ("Good morning.", "Good evening, all."):
        (folder / "anna.txt").write_text(f"{said}\n", "utf-8")
        assert (await voices.resolve(request("anna"), library)).recording.reference_text == said
    assert (await voices.resolve(request("bert_the_old"), library)).recording.reference_text == ""
    os.unlink(folder / "anna.txt")
    assert (await voices.resolve(request("anna"), library)).recording.reference_text == ""


async def test_a_stock_recording_that_is_gone(folder: Path, library: VoiceLibrary) -> None:
    voices = resolver(folder)
    (folder / "anna.wav").unlink()
    with pytest.raises(SpeechError, match=r"anna\.wav .*cannot be read"):
        await voices.resolve(request("anna"), library)
    assert (await voices.resolve(request("bert_the_old"), library)).card.id == "bert_the_old"


async def test_one_off_recordings_are_decoded_once(
    tmp_path: Path, library: VoiceLibrary, recording: bytes, decoded: Decoded
) -> None:
    voices = resolver(tmp_path)
    first = await voices.resolve(request("anna", recording, "what is said"), library)
    assert first.card == VoiceCard("reference-audio", "reference-audio", "m", "mul")
    assert first.warnings == ("only 2 s of 4 s are heard",)
    assert (first.recording.reference_text, first.recording.storable) == ("what is said", False)
    await library.profile(first.recording, "m", "1", encode)
    assert decoded == ["ref_audio"], "the audio that was checked is encoded"
    again = await voices.resolve(request(audio=recording), library)
    assert again.warnings == first.warnings
    assert decoded == ["ref_audio"]
    assert (await library.profile(again.recording, "m", "1", encode)).outcome == "miss"
    assert decoded == ["ref_audio", "voice"], "without the text it is another profile"


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"no audio", SpeechError), (b"", InvalidRequest), (b"\0" * (MAX_BYTES + 1), TooLarge)],
)
async def test_faults_of_one_off_recordings_are_remembered(
    tmp_path: Path, library: VoiceLibrary, decoded: Decoded, data: bytes, error: type[SpeechError]
) -> None:
    messages = set()
    for _ in range(3):
        with pytest.raises(error) as caught:
            await resolver(tmp_path).resolve(request(audio=data), library)
        assert caught.value.param == "ref_audio"
        messages.add(caught.value.message)
    assert len(messages) == 1
    assert len(decoded) == (3 if error is TooLarge else 1)


async def test_a_long_one_off_recording_is_used_without_its_transcript(
    folder: Path, library: VoiceLibrary, speech, wav
) -> None:
    long = SpeechRequest(
        "r", "text", reference_audio=wav(speech(40.0, 8_000), 8_000), reference_text="all that is said"
    )
    for _ in range(2):  # decoded, and remembered
        found = await resolver(folder).resolve(long, library)
        assert found.recording.reference_text == ""
        assert any("only the best part is used" in warning for warning in found.warnings)
        assert any("transcript is not used" in warning for warning in found.warnings)


async def test_what_is_remembered_is_bounded(tmp_path: Path, library: VoiceLibrary) -> None:
    for number in range(one_off.REMEMBERED + 50):
        with pytest.raises(SpeechError):
            await resolver(tmp_path).resolve(request(audio=f"text {number}".encode()), library)
    assert len(library.one_offs._seen) == one_off.REMEMBERED


async def test_a_thousand_voices_cost_a_request_next_to_nothing(
    folder: Path, library: VoiceLibrary, recording: bytes
) -> None:
    fill(library.store, 1000)
    voice = VoiceStore(library.store.files.url, max_voices=1001).register(NewVoice(recording, "Zoe"))
    voices = resolver(folder)
    times = []
    for name in [voice.id, "zoe", "anna", "ash"] * 25:
        began = time.process_time()
        found = await voices.resolve(request(name), library)
        await library.profile(found.recording, "m", "1", encode)
        times.append(time.process_time() - began)
    assert sorted(times)[len(times) // 2] < 0.005


async def test_nothing_blocks_the_event_loop_or_asyncios_own_threads(
    folder: Path, library: VoiceLibrary, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    sha256 = hashlib.sha256

    def noted(place: object, name: str) -> None:
        operation = getattr(place, name)

        def run(*arguments, **fields):
            if operation is not sha256 or len(arguments[0]) > 10_000:  # keys of profiles are short
                threads.add(threading.current_thread().name)
            return operation(*arguments, **fields)

        monkeypatch.setattr(place, name, run)

    voice = library.store.register(NewVoice(recording, "Zoe"))
    voices = resolver(folder)
    for name in ("read", "read_all", "write", "delete", "names", "stamps"):
        noted(library.store.files, name)
    noted(library_module, "decode_reference")
    noted(one_off, "decode_reference")
    noted(hashlib, "sha256")
    noted(Path, "read_bytes")
    noted(Path, "mkdir")
    noted(os, "open")
    for asked in (request("zoe"), request("anna"), request(audio=recording, text="one"), request("ash")):
        found = await voices.resolve(asked, library)
        await library.profile(found.recording, "m", "1", encode)
    await library.audio(voice)
    kinds = {name.rpartition("_")[0] for name in threads}
    assert kinds == {"voice-snapshot", "voice-profiles", "voice-decoding", "voice-stock"}
