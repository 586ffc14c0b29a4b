"""Where pipelines get voices: profiles from RAM, disk or an encoder, made once however many ask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Literal

from deployments.core.errors import SpeechError, Unavailable
from deployments.voices.cache import ByteLRU
from deployments.voices.profile import VoiceProfile, voice_key
from deployments.voices.reference import ReferenceAudio
from deployments.voices.store import VoiceStore
from deployments.voices.voice import Voice

logger = logging.getLogger(__name__)

Encode = Callable[[ReferenceAudio], Awaitable[VoiceProfile]]
"""What a model does with a recording; it raises SpeechError where it cannot."""

Outcome = Literal["hit-ram", "hit-disk", "miss"]
LOCK_POLL_S = 0.02


class VoiceLibrary:
    """One per process, used from one event loop.

    Profiles of registered voices are kept in RAM and in the store, and encoded once per store: other
    processes on the same directory wait for the one that encodes. Profiles of one-off recordings are kept
    in RAM only; nothing of a recording that nobody registered is ever written.
    """

    def __init__(
        self, store: VoiceStore, *, ram_bytes: int = 512_000_000, lock_timeout_s: float = 120.0
    ) -> None:
        self.store = store
        self.ram: ByteLRU[VoiceProfile] = ByteLRU(ram_bytes, lambda profile: profile.nbytes)
        self._lock_timeout_s = lock_timeout_s
        self._running: dict[str, asyncio.Task[tuple[VoiceProfile, Outcome]]] = {}

    async def find(self, name: str) -> Voice:
        """The registered voice of that id, name or alias. Raises NotFound (code "voice_not_found").

        Reads the store each time, so that a voice deleted or renamed through another replica is not served.
        """
        return await asyncio.to_thread(self.store.find, name)

    async def delete(self, voice_id: str) -> None:
        """Delete a voice with all its profiles. Raises NotFound."""
        for audio_sha256 in await asyncio.to_thread(self.store.delete, voice_id):
            self.ram.drop(f"{audio_sha256}-")

    async def profile(
        self,
        source: Voice | ReferenceAudio,
        model: str,
        model_version: str,
        encode: Encode,
        *,
        reference_text: str = "",
    ) -> tuple[VoiceProfile, Outcome]:
        """The profile that `model` makes of `source`, and where it came from.

        `reference_text` is for recordings; a registered voice brings its own. At the first use `encode`
        runs, once for all who wait; a caller that is cancelled does not stop it for the others. What it
        raises reaches all of them, and the next caller tries again.
        """
        if isinstance(source, Voice):
            reference_text = source.reference_text
        key = voice_key(source.sha256, model, model_version, reference_text)
        profile = self.ram.get(key)
        if profile:
            return profile, "hit-ram"
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._obtain(key, source, encode))
            self._running[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    async def preload(
        self, names: Iterable[str], model: str, model_version: str, encode: Encode
    ) -> dict[str, Outcome | SpeechError]:
        """Get the profiles of registered voices ready, one after the other; says for each what came of it."""
        outcomes: dict[str, Outcome | SpeechError] = {}
        for name in names:
            outcomes[name] = await self._ready(name, model, model_version, encode)
        return outcomes

    async def _ready(
        self, name: str, model: str, model_version: str, encode: Encode
    ) -> Outcome | SpeechError:
        try:
            return (await self.profile(await self.find(name), model, model_version, encode))[1]
        except SpeechError as error:
            return error

    async def _obtain(
        self, key: str, source: Voice | ReferenceAudio, encode: Encode
    ) -> tuple[VoiceProfile, Outcome]:
        profile = await asyncio.to_thread(self.store.profiles.load, key)
        outcome: Outcome = "hit-disk"
        if profile is None:
            outcome = "miss"
            if isinstance(source, Voice):
                profile, outcome = await self._obtain_alone(key, source, encode)
            else:
                profile = (await encode(source)).with_key(key)
        self.ram.put(key, profile)
        return profile, outcome

    async def _obtain_alone(self, key: str, voice: Voice, encode: Encode) -> tuple[VoiceProfile, Outcome]:
        async with self._locked(key):
            profile = await asyncio.to_thread(self.store.profiles.load, key)
            if profile:
                return profile, "hit-disk"
            audio = await asyncio.to_thread(self.store.reference, voice)
            profile = (await encode(audio)).with_key(key)
            await asyncio.to_thread(self._keep, voice, profile)
            return profile, "miss"

    def _keep(self, voice: Voice, profile: VoiceProfile) -> None:
        try:
            self.store.profiles.save(profile)
        except OSError:
            logger.exception("profile of voice %s cannot be written; it is kept in RAM only", voice.id)
        # Whoever deleted the voice meanwhile may have looked for its profiles before this one was there.
        if not self.store.exists(voice) and not self.store.uses(voice.sha256):
            self.store.profiles.delete(voice.sha256)

    @contextlib.asynccontextmanager
    async def _locked(self, key: str) -> AsyncIterator[None]:
        lock = self.store.files.lock(key)
        give_up = time.monotonic() + self._lock_timeout_s
        # Polled: a thread per waiter would use up the executor that the encoders need.
        while not lock.try_acquire():
            if time.monotonic() > give_up:
                raise Unavailable(
                    f"Another process encodes this voice since {self._lock_timeout_s:g} s. Try again later.",
                    code="voice_busy",
                    retry_after_s=5,
                )
            await asyncio.sleep(LOCK_POLL_S)
        try:
            yield
        finally:
            lock.release()

    def _forget(self, key: str, task: asyncio.Task[tuple[VoiceProfile, Outcome]]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # taken note of, where every caller has left
