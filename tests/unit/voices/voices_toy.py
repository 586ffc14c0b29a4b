"""Stores with many voices, and stores that misbehave."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import fsspec
import pytest

from deployments.voices import snapshot, stored_profiles
from deployments.voices.directory_files import DirectoryFiles
from deployments.voices.registered_voice import RegisteredVoice
from deployments.voices.store import VoiceStore

SHA = "ab" * 32
OPERATIONS = ("read", "read_all", "write", "delete", "names", "stamps")


def wait_long(setattr: Callable[[object, str, float], None]) -> None:
    """Let everybody wait for the store as long as it takes."""
    for module, name in (
        (snapshot, "SHORT_WAIT_S"),
        (snapshot, "LONGEST_WAIT_S"),
        (stored_profiles, "LONGEST_WAIT_S"),
    ):
        setattr(module, name, 60.0)


def fill(store: VoiceStore, number: int) -> None:
    """Manifests of voices voice_0, voice_1, … named Name 0, Name 1, …; no recordings, and nothing is announced."""
    manifests = {}
    for i in range(number):
        voice = RegisteredVoice(
            f"voice_{i}", f"Name {i}", SHA, "audio/wav", i, 4.0, 24_000, aliases=(f"alias-{i}",)
        )
        manifests[f"voices/{voice.id}/voice.json"] = voice.to_json()
    if isinstance(store.files, DirectoryFiles):
        for path, data in manifests.items():
            target = store.files.root / path
            target.parent.mkdir(parents=True)
            target.write_bytes(data)
    else:
        files, root = fsspec.core.url_to_fs(store.files.url)
        files.pipe({f"{root}/{path}": data for path, data in manifests.items()})


def count_operations(store: VoiceStore, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """(operation, path or paths) of everything that the store does to its files from now on."""
    done: list[tuple[str, Any]] = []

    def counted(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            done.append((name, arguments[0]))
            return operation(*arguments)

        return run

    for name in OPERATIONS:
        monkeypatch.setattr(store.files, name, counted(name, getattr(store.files, name)))
    return done


class Stall:
    """Operations of a store that do not return before `end` is called."""

    def __init__(self, store: VoiceStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self._over = threading.Event()
        for name in OPERATIONS:
            monkeypatch.setattr(store.files, name, self._stalled(getattr(store.files, name)))

    def _stalled(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            self._over.wait(30)
            return operation(*arguments)

        return run

    def end(self) -> None:
        self._over.set()
