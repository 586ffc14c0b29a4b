"""The store of voices is lost and comes back, holds a damaged voice, or is full, while the server runs."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from toy_server import ToyServer, toy_server

VOICES = "/v1/audio/voices"
WORD_BYTES = 2 * 1200  # of a bell: 0.05 s of 24 kHz

pytestmark = [pytest.mark.alone, pytest.mark.slow]


def clip(hz: int, duration_s: int = 3) -> bytes:
    """A recording that can be cloned, another one for each `hz`."""
    time_s = np.arange(duration_s * 24_000) / 24_000
    wave = 0.3 * np.sin(2 * np.pi * hz * time_s) * (1 + 0.3 * np.sin(2 * np.pi * 3 * time_s))
    file = io.BytesIO()
    soundfile.write(file, wave.astype(np.float32), 24_000, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyServer]:
    """`bells` clones and has the stock voice anna."""
    folder = tmp_path_factory.mktemp("voices-of-bells")
    (folder / "stock").mkdir()
    (folder / "stock" / "anna.wav").write_bytes(clip(220))
    models = {"bells": {"kind": "toys.chimes.pipeline", "voices": str(folder / "stock")}}
    with toy_server(folder, models) as running:
        yield running


@pytest.fixture
def place(server: ToyServer) -> Path:
    return server.config.parent / "voices"


def register(server: ToyServer, name: str, recording: bytes) -> httpx.Response:
    files = {"audio_sample": (f"{name}.wav", recording, "audio/wav")}
    return httpx.post(f"{server.url}{VOICES}", files=files, data={"name": name, "consent": "yes"}, timeout=60)


def speaks(server: ToyServer, voice: str) -> bool:
    answer = server.speak("one two", voice=voice)
    return answer.status_code == 200 and abs(len(answer.content) - 2 * WORD_BYTES) < WORD_BYTES / 4


def listed(server: ToyServer) -> set[str]:
    answer = httpx.get(f"{server.url}{VOICES}", timeout=60)
    assert answer.status_code == 200, answer.text
    return {voice["name"] for voice in answer.json()["uploaded_voices"]}


def assert_says_when_to_come_back(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "voice_store_unavailable"
    assert int(answer.headers["retry-after"]) > 0


def test_a_store_that_is_lost_harms_only_who_needs_it_and_is_used_again_once_it_is_back(
    server: ToyServer, place: Path
) -> None:
    assert speaks(server, "anna")
    assert register(server, "Berta", clip(230)).status_code == 200
    away = place.with_name("voices-away")
    place.rename(away)
    place.write_text("not a directory")
    try:
        assert speaks(server, "anna")
        assert_says_when_to_come_back(register(server, "Clara", clip(240)))
        # Berta was never spoken: her recording is in the store alone.
        asked = server.speak("one two", voice="Berta")
        assert_says_when_to_come_back(asked)
        assert "voice store" in asked.json()["error"]["message"]
        assert httpx.get(f"{server.url}/readyz", timeout=30).status_code == 200
    finally:
        place.unlink()
        away.rename(place)
    server.until(lambda: speaks(server, "Berta"), 30)
    assert register(server, "Clara", clip(240)).status_code == 200
    assert speaks(server, "Clara")


def test_a_damaged_voice_is_named_and_harms_no_other(server: ToyServer, place: Path) -> None:
    found = [register(server, name, clip(hz)).json() for name, hz in (("Dora", 250), ("Emma", 260))]
    assert all(map(speaks, [server] * 2, ("Emma", "anna")))
    (recording,) = (place / "voices" / found[0]["id"]).glob("*.audio")
    recording.write_bytes(b"spoiled" * 1000)
    answer = server.speak("one two", voice="Dora")
    assert answer.status_code == 500, answer.text
    assert answer.json()["error"]["code"] == "voice_damaged"
    assert found[0]["id"] in answer.json()["error"]["message"]
    assert "register it again" in answer.json()["error"]["message"]
    assert all(map(speaks, [server] * 2, ("Emma", "anna")))
    assert {"Dora", "Emma"} <= listed(server)
    assert "Traceback" not in server.told


@pytest.mark.parametrize("spoiled", [b"", b"spoiled" * 100], ids=["empty", "nonsense"])
def test_a_damaged_profile_is_made_again(server: ToyServer, place: Path, spoiled: bytes) -> None:
    name, recording = f"Frieda {len(spoiled)}", clip(300 + len(spoiled) // 100)
    assert register(server, name, recording).status_code == 200
    assert speaks(server, name)
    profiles = [path for path in (place / "profiles").rglob("*") if path.is_file()]
    assert profiles
    for path in profiles:
        path.write_bytes(spoiled)
    # The next Router has nothing in memory.
    for process in server.family():
        if "ServeReplica:voicegraph:Router" in " ".join(process.cmdline()):
            process.kill()
    server.until(lambda: speaks(server, name), 60)
    assert [path for path in (place / "quarantine").rglob("*") if path.is_file()]
    assert name in listed(server)


def test_a_full_disk_refuses_a_voice_in_a_sentence_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    place = tmp_path / "voices"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "full", place], check=False).returncode:
        pytest.skip("only root may mount a disk that is small enough to be filled")
    try:
        (tmp_path / "stock").mkdir()
        (tmp_path / "stock" / "anna.wav").write_bytes(clip(220))
        with toy_server(
            tmp_path, {"bells": {"kind": "toys.chimes.pipeline", "voices": str(tmp_path / "stock")}}
        ) as full:
            assert register(full, "Gerda", clip(270)).status_code == 200
            answer = register(full, "Hanna", clip(280, 10))
            assert_says_when_to_come_back(answer)
            assert "No space left" in answer.json()["error"]["message"]
            assert listed(full) == {"Gerda"}
            assert len(list((place / "voices").iterdir())) == 1
            assert speaks(full, "Gerda")
            assert register(full, "Hanna", clip(280)).status_code == 200
            assert speaks(full, "Hanna")
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
