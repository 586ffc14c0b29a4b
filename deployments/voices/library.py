"""Where models that clone get profiles: from RAM, the store or an encoder, made once however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from deployments.core.deadline import NEVER, Deadline, before
from deployments.core.pipeline import Pipeline
from deployments.voices.cache import ByteLRU
from deployments.voices.decode import decode_reference
from deployments.voices.one_off import OneOffRecordings
from deployments.voices.profile import EncodedProfile, VoiceProfile, voice_key
from deployments.voices.reference import Recording, ReferenceAudio, read_stock_recording
from deployments.voices.registered_voice import RegisteredVoice
from deployments.voices.snapshot import VoiceSnapshot
from deployments.voices.store import VoiceStore
from deployments.voices.stored_profiles import StoredProfiles
from deployments.voices.workers import Workers

READ_TIMEOUT_S = 30.0  # of a recording, for whoever cannot do without

Outcome = Literal["hit-ram", "hit-disk", "miss"]


@dataclass(frozen=True, slots=True)
class ProfileFound:
    """`model_version` is that of the weights that made the profile; another one than was asked for means that the
    weights were replaced meanwhile."""

    profile: VoiceProfile
    outcome: Outcome
    model_version: str


Encode = Callable[[ReferenceAudio], Awaitable[EncodedProfile]]
"""What a model does with a recording; it raises SpeechError where it cannot."""


class VoiceLibrary:
    """One per process, used from one event loop, which it never blocks.

    Profiles of registered voices and of those that come with a model are kept in RAM and in the store, and encoded
    once per store: other processes on the same directory wait for the one that encodes. Profiles of one-off recordings
    are kept in RAM only; nothing of a recording that nobody registered is ever written.
    """

    def __init__(
        self, store: VoiceStore, *, ram_bytes: int = 512_000_000, lock_timeout_s: float = 120.0
    ) -> None:
        self.store = store
        self.ram: ByteLRU[VoiceProfile] = ByteLRU(ram_bytes, lambda profile: profile.nbytes)
        self.decoding = Workers("voice-decoding", 2)
        self.registered = VoiceSnapshot(store, self._forget_recordings)
        self.one_offs = OneOffRecordings(self.decoding)
        self._reading = Workers("voice-profiles", 4)
        self._stored = StoredProfiles(store, self._reading, lock_timeout_s=lock_timeout_s)
        self._running: dict[str, asyncio.Task[ProfileFound]] = {}
        self.when_found: Callable[[Outcome], None] = lambda outcome: None  # for counting

    async def profile(
        self,
        recording: Recording,
        model_kind: str,
        model_version: str,
        encode: Encode,
        deadline: Deadline = NEVER,
    ) -> ProfileFound:
        """What models of `model_kind` make of `recording`.

        At the first use `encode` runs, once for all who wait, and the profile is filed under the version that made it,
        whatever `model_version` the caller believed in. A caller that is cancelled or whose `deadline` passes
        (DeadlineExceeded) does not stop it for the others. What `encode` raises reaches all of them, and the next
        caller tries again. Raises Unavailable for a registered voice whose store does not work.
        """
        key = voice_key(recording.sha256, model_kind, model_version, recording.reference_text)
        profile = self.ram.get(key)
        if profile is not None:
            self.when_found("hit-ram")
            return ProfileFound(profile, "hit-ram", model_version)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._obtain(key, recording, model_kind, model_version, encode))
            self._running[key] = task
            task.add_done_callback(partial(self._ended, key))
        found = await before(deadline, asyncio.shield(task), "the voice was not ready")
        self.when_found(found.outcome)
        return found

    async def audio(self, voice: RegisteredVoice) -> bytes:
        """The recording of a registered voice, as it was sent. Raises NotFound, VoiceDamaged or Unavailable."""
        try:
            return await self._reading.run(partial(self.store.audio, voice), within_s=READ_TIMEOUT_S)
        except TimeoutError:
            raise self.store.not_answering(READ_TIMEOUT_S) from None

    async def _obtain(
        self, key: str, recording: Recording, model_kind: str, model_version: str, encode: Encode
    ) -> ProfileFound:
        profile = await self._stored.load(key)
        if profile is not None:
            found = ProfileFound(profile, "hit-disk", model_version)
        elif recording.storable:
            async with self._stored.locked(key):
                profile = await self._stored.load(key)
                if profile is not None:
                    found = ProfileFound(profile, "hit-disk", model_version)
                else:
                    found = await self._make(recording, model_kind, encode)
                    voice = recording.content if isinstance(recording.content, RegisteredVoice) else None
                    await self._stored.save(found.profile, voice)
        else:
            found = await self._make(recording, model_kind, encode)
        self.ram.put(found.profile.key, found.profile)
        return found

    async def _make(self, recording: Recording, model_kind: str, encode: Encode) -> ProfileFound:
        audio = recording.audio or await self._decoded(recording)
        encoded = await encode(audio)
        # By the hash of what was encoded: a file that comes with a model may have been replaced meanwhile.
        key = voice_key(audio.sha256, model_kind, encoded.model_version, recording.reference_text)
        return ProfileFound(encoded.profile.with_key(key), "miss", encoded.model_version)

    async def _decoded(self, recording: Recording) -> ReferenceAudio:
        content = recording.content
        if isinstance(content, RegisteredVoice):
            content = await self.audio(content)
        return await self.decoding.run(partial(_decode, content))

    def _forget_recordings(self, gone: frozenset[str]) -> None:
        for audio_sha256 in gone:
            self.ram.drop(f"{audio_sha256}-")

    def _ended(self, key: str, task: asyncio.Task[ProfileFound]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # taken note of, where every caller has left


class CloningPipeline(Pipeline, Protocol):
    """What a pipeline offers as well if its card says `cloning`: uploaded voices belong to all such models."""

    def use_library(self, library: VoiceLibrary) -> None:
        """Called once, before the first request: where uploaded voices and all profiles are kept."""

    async def prepare_voice(self, voice: RegisteredVoice) -> Outcome:
        """Get the profile of an uploaded voice ready; says where it was found. Raises SpeechError."""

    def reference_warnings(self, duration_s: float) -> tuple[str, ...]:
        """What whoever uploads a recording of `duration_s` should know about how this model uses it."""


def _decode(content: bytes | Path) -> ReferenceAudio:
    data = content if isinstance(content, bytes) else read_stock_recording(content)
    return decode_reference(data, param="voice")
