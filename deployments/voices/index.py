"""All registered voices by what they are called, as they were at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from deployments.core.catalogue import VoiceCard, fold
from deployments.core.logs import logger
from deployments.voices.files import Files
from deployments.voices.registered_voice import RegisteredVoice, VoiceDamaged, is_id

MANIFEST = "voice.json"


@dataclass(frozen=True)
class IndexedVoice:
    stamp: str  # of the manifest
    voice: RegisteredVoice

    @cached_property
    def folded(self) -> tuple[str, ...]:
        return tuple(fold(name) for name in self.voice.names)

    @cached_property
    def card(self) -> VoiceCard:
        return self.voice.card


@dataclass(frozen=True)
class DamagedVoice:
    stamp: str
    damage: str


class VoiceIndex:
    """Never changes; another state of the store is another index. `voices` and `cards` are sorted, oldest first."""

    def __init__(self, entries: Mapping[str, IndexedVoice | DamagedVoice]) -> None:
        self.entries = entries
        whole = [entry for entry in entries.values() if isinstance(entry, IndexedVoice)]
        whole.sort(key=lambda entry: (entry.voice.created_at, entry.voice.id))
        self.voices = tuple(entry.voice for entry in whole)
        self.cards = tuple(entry.card for entry in whole)
        self.recordings = frozenset(voice.sha256 for voice in self.voices)
        self._by_name: dict[str, RegisteredVoice] = {}
        for entry in whole:
            for name in entry.folded:
                self._by_name.setdefault(name, entry.voice)

    def find(self, name: str) -> RegisteredVoice | None:
        """The voice of that id, name or alias. Raises VoiceDamaged where the id belongs to a damaged
        one."""
        entry = self.entries.get(name)
        if entry is None:
            return self._by_name.get(fold(name))
        if isinstance(entry, DamagedVoice):
            raise damaged(name, entry.damage)
        return entry.voice


EMPTY = VoiceIndex({})


def read_index(files: Files, known: VoiceIndex = EMPTY) -> VoiceIndex:
    """The voices now; `known` itself where nothing changed since. Reads only manifests that are new or changed."""
    stamps = {
        voice_id: stamp for voice_id, stamp in files.stamps("voices", MANIFEST).items() if is_id(voice_id)
    }
    same = {
        voice_id: entry
        for voice_id, entry in known.entries.items()
        if entry.stamp and stamps.get(voice_id) == entry.stamp
    }
    paths = {manifest_path(voice_id): voice_id for voice_id in stamps if voice_id not in same}
    contents = files.read_all(list(paths))
    if not contents and len(same) == len(known.entries):
        return known
    read = {paths[path]: _entry(paths[path], stamps[paths[path]], data) for path, data in contents.items()}
    return VoiceIndex({**same, **read})


def manifest_path(voice_id: str) -> str:
    return f"voices/{voice_id}/{MANIFEST}"


def damaged(voice_id: str, damage: str) -> VoiceDamaged:
    return VoiceDamaged(
        f"The stored entry of voice {voice_id!r} is damaged ({damage}). Delete and register it again."
    )


def _entry(voice_id: str, stamp: str, data: bytes) -> IndexedVoice | DamagedVoice:
    try:
        return IndexedVoice(stamp, RegisteredVoice.from_json(data))
    except ValueError as error:
        logger.error("%s", damaged(voice_id, str(error)).message)
        return DamagedVoice(stamp, str(error))
