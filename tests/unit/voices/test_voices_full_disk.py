"""A disk that is full when a voice is registered: it is refused in a sentence, and nothing of it stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from deployments.core.errors import Unavailable
from deployments.voices.registered_voice import NewVoice
from deployments.voices.store import VoiceStore

# The recording, its use, what it is called by (id, name and alias) and the manifest; the change's mark may fail.
WRITES = 6


def fill_disk_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left = writes

    def sync(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", sync)


def files_of(place: Path) -> list[str]:
    """All but locks, and the mark of the last change."""
    found = (path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    return sorted(path for path in found if not path.startswith("locks/") and path != "revision")


@pytest.mark.parametrize("writes", range(WRITES))
def test_a_voice_that_does_not_fit_leaves_nothing(
    tmp_path: Path, recording: bytes, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    store = VoiceStore(str(tmp_path), max_voices=2)
    kept = store.register(NewVoice(recording, "Anna"))
    before = files_of(tmp_path)
    new = NewVoice(recording, "Berta", aliases=("b",))
    with monkeypatch.context() as full:
        fill_disk_after(writes, full)
        with pytest.raises(Unavailable, match="No space left on device") as caught:
            store.register(new)
    assert (caught.value.status, caught.value.code) == (503, "voice_store_unavailable")
    assert "has space left" in caught.value.message
    assert files_of(tmp_path) == before
    assert store.find("Anna") == kept
    # It was never counted, and its names are free.
    voice = store.register(new)
    assert store.find("berta") == voice


def test_a_change_that_cannot_be_announced_is_made(
    tmp_path: Path, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = VoiceStore(str(tmp_path))
    with monkeypatch.context() as full:
        fill_disk_after(WRITES, full)
        voice = store.register(NewVoice(recording, "Berta", aliases=("b",)))
    assert store.find("b") == voice
