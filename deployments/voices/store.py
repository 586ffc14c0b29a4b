"""Registered voices on disk or in an object store, shared by every replica."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from deployments.core.errors import Conflict, NotFound, SpeechError, Unavailable
from deployments.voices.decode import decode_reference
from deployments.voices.files import Files
from deployments.voices.profile_store import ProfileStore
from deployments.voices.reference import ReferenceAudio
from deployments.voices.voice import Voice, check_id, fold, name_hash, new_id

logger = logging.getLogger(__name__)

DEFAULT_URL = "~/.cache/voicegraph/voices"
LOCK_TIMEOUT_S = 30.0


class VoiceStore:
    """Synchronous; call it from a thread. Nothing is remembered between calls, so what one replica deletes or
    renames is gone for all others with their next request.

    Layout: `voices/<id>/voice.json` beside `<sha256>.audio`, `names/<hash of a name>` holding the id it
    belongs to. A voice exists when its manifest does: it is written last and deleted first. What a name
    file says counts only where that voice's manifest agrees, so a crash in between leaves nothing wrong
    behind.
    """

    def __init__(self, url: str = DEFAULT_URL, *, max_voices: int = 1000) -> None:
        self.files = Files(url)
        self.profiles = ProfileStore(self.files)
        self._max_voices = max_voices

    def register(
        self,
        audio: bytes,
        *,
        name: str,
        voice_id: str | None = None,
        description: str = "",
        language: str = "",
        consent: str = "",
        reference_text: str = "",
        aliases: Sequence[str] = (),
    ) -> Voice:
        """Keep a new voice. `consent` says who agreed to the cloning, as text or as the id of a record.

        Raises what `decode_reference` raises (param "audio_sample"), InvalidRequest for other fields and
        Conflict (409) for a name, alias or id that is taken.
        """
        reference = decode_reference(audio, param="audio_sample")
        voice = Voice(
            id=voice_id or new_id(),
            name=name,
            sha256=reference.sha256,
            media_type=reference.media_type,
            created_at=int(time.time()),
            duration_s=round(reference.duration_s, 3),
            sample_rate_hz=reference.sample_rate_hz,
            description=description,
            language=language,
            consent=consent,
            reference_text=reference_text,
            aliases=tuple(aliases),
            warnings=reference.warnings,
        )
        with self._registry_lock():
            if len(self.files.names("voices")) >= self._max_voices:
                raise Conflict(
                    f"The store already holds {self._max_voices} voices; delete some first.",
                    code="too_many_voices",
                )
            self._refuse_taken_names(voice)
            self.files.write(_audio_path(voice), audio)
            self._commit(voice)
        return voice

    def get(self, voice_id: str) -> Voice:
        """The voice of that id. Raises NotFound (404), or SpeechError (500) where its manifest is damaged."""
        voice = self._manifest(voice_id)
        if voice is None:
            raise _not_found(voice_id)
        return voice

    def find(self, name: str) -> Voice:
        """The voice that a request calls `name`: its id, name or an alias, in any case. Raises like `get`."""
        voice = self._manifest(name) or self._named(name)
        if voice is None:
            raise _not_found(name)
        return voice

    def list(self) -> list[Voice]:
        """All voices, oldest first. A damaged manifest is logged and left out."""
        voices = []
        for voice_id in self.files.names("voices"):
            try:
                voice = self._manifest(voice_id)
            except SpeechError as error:
                logger.error("%s", error.message)
                continue
            if voice:
                voices.append(voice)
        return sorted(voices, key=lambda voice: (voice.created_at, voice.id))

    def update(
        self,
        voice_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        language: str | None = None,
        consent: str | None = None,
        reference_text: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> Voice:
        """Change what is not None. Raises NotFound, InvalidRequest, or Conflict for a taken name."""
        given: dict[str, Any] = {
            "name": name,
            "description": description,
            "language": language,
            "consent": consent,
            "reference_text": reference_text,
            "aliases": None if aliases is None else tuple(aliases),
        }
        with self._registry_lock():
            before = self.get(voice_id)
            changes = {field: value for field, value in given.items() if value is not None}
            after = dataclasses.replace(before, revision=before.revision + 1, **changes)
            self._refuse_taken_names(after)
            self._commit(after)
            for old in before.names:
                if not after.is_called(old):
                    self.files.delete(_name_path(old))
        return after

    def delete(self, voice_id: str) -> tuple[str, ...]:
        """Delete a voice, its recording and its profiles, unless another voice has that recording.

        Works on damaged manifests too. Gives the hashes of recordings that no voice has any more.
        Raises NotFound.
        """
        check_id(voice_id)
        folder = f"voices/{voice_id}"
        with self._registry_lock():
            content = self.files.names(folder)
            if not content:
                raise _not_found(voice_id)
            names: tuple[str, ...] = (voice_id,)
            with contextlib.suppress(SpeechError):
                names = self.get(voice_id).names
            self.files.delete(f"{folder}/voice.json")
            for name in names:
                self.files.delete(_name_path(name))
            self.files.delete(folder)
            hashes = (entry.removesuffix(".audio") for entry in content if entry.endswith(".audio"))
            orphans = tuple(audio_sha256 for audio_sha256 in hashes if not self.uses(audio_sha256))
            for audio_sha256 in orphans:
                self.profiles.delete(audio_sha256)
            return orphans

    def audio(self, voice: Voice) -> bytes:
        """The original recording. Raises NotFound where the voice is gone, SpeechError where damaged."""
        data = self.files.read(_audio_path(voice))
        if data is None:
            raise _not_found(voice.id)
        if hashlib.sha256(data).hexdigest() != voice.sha256:
            raise SpeechError(
                f"The stored recording of voice {voice.id!r} is damaged. Delete and register it again.",
                code="voice_damaged",
            )
        return data

    def reference(self, voice: Voice) -> ReferenceAudio:
        return decode_reference(self.audio(voice), param="voice")

    def exists(self, voice: Voice) -> bool:
        """Whether `voice` is still registered with this recording."""
        now = self._manifest(voice.id)
        return now is not None and now.sha256 == voice.sha256

    def uses(self, audio_sha256: str) -> bool:
        """Whether any registered voice has this recording."""
        return any(voice.sha256 == audio_sha256 for voice in self.list())

    def _manifest(self, voice_id: str) -> Voice | None:
        try:
            check_id(voice_id)
        except SpeechError:
            return None
        data = self.files.read(f"voices/{voice_id}/voice.json")
        if data is None:
            return None
        try:
            return Voice.from_json(data)
        except ValueError as error:
            raise SpeechError(
                f"The stored entry of voice {voice_id!r} is damaged ({error}). Delete and register it again.",
                code="voice_damaged",
            ) from error

    def _named(self, name: str) -> Voice | None:
        claim = self.files.read(_name_path(name))
        voice = self._manifest(claim.decode("ascii", "replace")) if claim else None
        return voice if voice and voice.is_called(name) else None

    def _refuse_taken_names(self, voice: Voice) -> None:
        for name in voice.names:
            holder = self._manifest(name) or self._named(name)
            if holder and (holder.id != voice.id or voice.revision == 1):
                raise Conflict(
                    f"A voice is already called {name!r} (id {holder.id}). Choose another name or delete it.",
                    param="voice_id" if fold(name) == fold(voice.id) else "name",
                    code="voice_exists",
                )

    def _commit(self, voice: Voice) -> None:
        for name in voice.names:
            self.files.write(_name_path(name), voice.id.encode())
        self.files.write(f"voices/{voice.id}/voice.json", voice.to_json())

    @contextlib.contextmanager
    def _registry_lock(self) -> Iterator[None]:
        lock = self.files.lock("registry")
        give_up = time.monotonic() + LOCK_TIMEOUT_S
        while not lock.try_acquire():
            if time.monotonic() > give_up:
                raise Unavailable(
                    "The voice store is busy. Try again.", code="voice_store_busy", retry_after_s=5
                )
            time.sleep(0.01)
        try:
            yield
        finally:
            lock.release()


def _audio_path(voice: Voice) -> str:
    return f"voices/{voice.id}/{voice.sha256}.audio"


def _name_path(name: str) -> str:
    return f"names/{name_hash(name)}"


def _not_found(name: str) -> NotFound:
    return NotFound(
        f"There is no voice {name[:80]!r}. GET /v1/audio/voices lists them.", code="voice_not_found"
    )
