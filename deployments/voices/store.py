"""Registered voices on disk or in an object store, shared by every replica."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Iterator

import fsspec
from fsspec.implementations.local import LocalFileSystem

from deployments.core.catalogue import fold
from deployments.core.errors import Conflict, NotFound, Unavailable
from deployments.core.logs import logger
from deployments.voices.decode import decode_reference
from deployments.voices.directory_files import DirectoryFiles
from deployments.voices.files import Files, store_unavailable
from deployments.voices.index import EMPTY, VoiceIndex, damaged, manifest_path, read_index
from deployments.voices.profile_store import ProfileStore
from deployments.voices.registered_voice import (
    UNUSED_TRANSCRIPT,
    NewVoice,
    RegisteredVoice,
    VoiceChanges,
    VoiceDamaged,
    check_id,
    is_id,
    name_hash,
    new_id,
    voice_not_found,
)
from deployments.voices.remote_files import RemoteFiles

DEFAULT_URL = "~/.cache/voicegraph/voices"
LOCK_TIMEOUT_S = 30.0
REVISION = "revision"


class VoiceStore:
    """Synchronous; call it from a thread. Nothing is remembered between calls.

    Layout: `voices/<id>/voice.json` beside `<sha256>.audio`; `names/<hash of a name>` holding the id it belongs to;
    `recordings/<sha256>/<id>` for each voice with that recording; `revision`, a random token that every change
    replaces. A voice exists when its manifest does: it is written last and deleted first. What the files of names and
    recordings say counts only where that voice's manifest agrees, so a crash in between leaves nothing wrong behind.

    Every method raises Unavailable (code "voice_store_unavailable") where the place cannot be reached.
    """

    def __init__(self, url: str = DEFAULT_URL, *, max_voices: int = 1000) -> None:
        """`url` is a local directory or any address that fsspec knows. Connects to nothing yet.

        Raises ValueError for an address of unknown kind, ImportError naming the package that a kind needs.
        """
        self.files = _open(url)
        self.profiles = ProfileStore(self.files)
        self._max_voices = max_voices

    def register(self, new: NewVoice, *, voice_id: str | None = None) -> RegisteredVoice:
        """Keep a new voice. Raises what `decode_reference` raises (param "audio_sample"), InvalidRequest for other
        fields and Conflict (409) for a name, alias or id that is taken."""
        reference = decode_reference(new.audio, param="audio_sample")
        misfit = bool(new.reference_text.strip()) and reference.shortened
        voice = RegisteredVoice(
            id=voice_id or new_id(),
            name=new.name,
            sha256=reference.sha256,
            media_type=reference.media_type,
            created_at=int(time.time()),
            duration_s=round(reference.duration_s, 3),
            sample_rate_hz=reference.sample_rate_hz,
            description=new.description,
            language=new.language,
            consent=new.consent,
            reference_text="" if misfit else new.reference_text,
            aliases=new.aliases,
            owner=new.owner,
            warnings=(*reference.warnings, *([UNUSED_TRANSCRIPT] if misfit else [])),
        )
        with self._registry_lock():
            if len(self.files.names("voices")) >= self._max_voices:
                raise Conflict(
                    f"The store already holds {self._max_voices} voices; delete some first.",
                    code="too_many_voices",
                )
            self._refuse_taken_names(voice)
            try:
                self.files.write(_audio_path(voice), new.audio)
                self.files.write(_use_path(voice.sha256, voice.id), b"")
                self._commit(voice)
            # A disk that is full must not stay so for the sake of a voice that is not kept.
            except BaseException:
                self._take_back(voice)
                raise
        return voice

    def get(self, voice_id: str) -> RegisteredVoice:
        """The voice of that id. Raises NotFound (404), or VoiceDamaged (500)."""
        voice = self._manifest(voice_id)
        if voice is None:
            raise voice_not_found(voice_id)
        return voice

    def find(self, name: str) -> RegisteredVoice:
        """The voice that a request calls `name`: its id, name or an alias, in any case. Raises like `get`."""
        voice = self._manifest(name) or self._named(name)
        if voice is None:
            raise voice_not_found(name)
        return voice

    def index(self, known: VoiceIndex = EMPTY) -> VoiceIndex:
        """All voices now; reads only what changed since `known`. A damaged manifest is logged when it is read."""
        return read_index(self.files, known)

    def revision(self) -> str:
        """Another token after every change. A change may be in the index before it is seen here, never after."""
        return (self.files.read(REVISION) or b"").decode("ascii", "replace")

    def update(self, voice_id: str, changes: VoiceChanges) -> RegisteredVoice:
        """Raises NotFound, InvalidRequest, or Conflict for a taken name."""
        with self._registry_lock():
            before = self.get(voice_id)
            after = before.changed(changes)
            self._refuse_taken_names(after)
            self._commit(after)
            for old in before.names:
                if not after.is_called(old):
                    self.files.delete(_name_path(old))
        return after

    def delete(self, voice_id: str) -> None:
        """Delete a voice, its recording and its profiles, unless another voice has that recording.

        Works on damaged manifests too. Raises NotFound.
        """
        check_id(voice_id)
        folder = f"voices/{voice_id}"
        with self._registry_lock():
            content = self.files.names(folder)
            if not content:
                raise voice_not_found(voice_id)
            names: tuple[str, ...] = (voice_id,)
            with contextlib.suppress(NotFound, VoiceDamaged):
                names = self.get(voice_id).names
            self.files.delete(manifest_path(voice_id))
            self._announce_change()
            for name in names:
                self.files.delete(_name_path(name))
            self.files.delete(folder)
            for entry in content:
                if entry.endswith(".audio"):
                    self._forget_use(entry.removesuffix(".audio"), voice_id)

    def audio(self, voice: RegisteredVoice) -> bytes:
        """The original recording. Raises NotFound where the voice is gone, VoiceDamaged."""
        data = self.files.read(_audio_path(voice))
        if data is None:
            raise voice_not_found(voice.id)
        if hashlib.sha256(data).hexdigest() != voice.sha256:
            raise VoiceDamaged(
                f"The stored recording of voice {voice.id!r} is damaged. Delete and register it again."
            )
        return data

    def not_answering(self, waited_s: float) -> Unavailable:
        """What is said where a call takes longer than anybody waits for it."""
        return store_unavailable(self.files.place, f"no answer within {waited_s:g} s")

    def exists(self, voice: RegisteredVoice) -> bool:
        """Whether `voice` is still registered with this recording."""
        return self._has(voice.id, voice.sha256)

    def uses(self, audio_sha256: str) -> bool:
        """Whether any registered voice is known to have this recording. Voices of stores from before `recordings/` are
        not; then a profile is deleted that will be made again."""
        return any(
            self._has(voice_id, audio_sha256) for voice_id in self.files.names(f"recordings/{audio_sha256}")
        )

    def _has(self, voice_id: str, audio_sha256: str) -> bool:
        with contextlib.suppress(VoiceDamaged):
            voice = self._manifest(voice_id)
            return voice is not None and voice.sha256 == audio_sha256
        return False

    def _forget_use(self, audio_sha256: str, voice_id: str) -> None:
        self.files.delete(_use_path(audio_sha256, voice_id))
        if not self.uses(audio_sha256):
            self.profiles.delete(audio_sha256)
            self.files.delete(f"recordings/{audio_sha256}")

    def _manifest(self, voice_id: str) -> RegisteredVoice | None:
        data = self.files.read(manifest_path(voice_id)) if is_id(voice_id) else None
        if data is None:
            return None
        try:
            return RegisteredVoice.from_json(data)
        except ValueError as error:
            raise damaged(voice_id, str(error)) from error

    def _named(self, name: str) -> RegisteredVoice | None:
        claim = self.files.read(_name_path(name))
        voice = self._manifest(claim.decode("ascii", "replace")) if claim else None
        return voice if voice and voice.is_called(name) else None

    def _refuse_taken_names(self, voice: RegisteredVoice) -> None:
        for name in voice.names:
            holder = self._manifest(name) or self._named(name)
            if holder and (holder.id != voice.id or voice.revision == 1):
                raise Conflict(
                    f"A voice is already called {name!r} (id {holder.id}). Choose another name or delete it.",
                    param="voice_id" if fold(name) == fold(voice.id) else "name",
                    code="voice_exists",
                )

    def _commit(self, voice: RegisteredVoice) -> None:
        for name in voice.names:
            self.files.write(_name_path(name), voice.id.encode())
        self.files.write(manifest_path(voice.id), voice.to_json())
        self._announce_change()

    def _take_back(self, voice: RegisteredVoice) -> None:
        """Delete what was written of a voice that could not be kept, as far as the store lets us."""
        written = (manifest_path(voice.id), *map(_name_path, voice.names), f"voices/{voice.id}")
        with contextlib.suppress(Unavailable):
            for path in written:
                self.files.delete(path)
            self._forget_use(voice.sha256, voice.id)

    def _announce_change(self) -> None:
        try:
            self.files.write(REVISION, secrets.token_hex(8).encode())
        except Unavailable as error:  # the change is made; other processes notice it later
            logger.warning("a change of voices could not be announced: %s", error.message)

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


def _open(url: str) -> Files:
    kind = fsspec.get_filesystem_class(fsspec.utils.get_protocol(url))
    return DirectoryFiles(url) if issubclass(kind, LocalFileSystem) else RemoteFiles(url)


def _audio_path(voice: RegisteredVoice) -> str:
    return f"voices/{voice.id}/{voice.sha256}.audio"


def _use_path(audio_sha256: str, voice_id: str) -> str:
    return f"recordings/{audio_sha256}/{voice_id}"


def _name_path(name: str) -> str:
    return f"names/{name_hash(name)}"
