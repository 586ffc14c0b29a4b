"""Profiles in the store as an event loop uses them: welcome where the store works, and never needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from deployments.core.deadline import within
from deployments.core.errors import Unavailable
from deployments.core.logs import logger
from deployments.voices.files import Lock
from deployments.voices.profile import VoiceProfile
from deployments.voices.registered_voice import RegisteredVoice
from deployments.voices.store import VoiceStore
from deployments.voices.workers import Workers

T = TypeVar("T")

LONGEST_WAIT_S = 2.0
PAUSE_S = 5.0  # a store that did not answer is left alone for so long
POLL_S = 0.02


class StoredProfiles:
    """A store that fails or does not answer counts as one that holds nothing and keeps nothing: a profile is then made
    and kept in RAM only. The log says so once."""

    def __init__(self, store: VoiceStore, workers: Workers, *, lock_timeout_s: float) -> None:
        self._store = store
        self._workers = workers
        self._lock_timeout_s = lock_timeout_s
        self._paused_until_s = 0.0
        self._failing: set[str] = set()

    async def load(self, key: str) -> VoiceProfile | None:
        return await self._result("reading", partial(self._store.profiles.load, key))

    async def save(self, profile: VoiceProfile, voice: RegisteredVoice | None) -> None:
        """`voice` is the one whose profile it is; None for a voice that comes with a model."""
        await self._result("writing", partial(self._save, profile, voice))

    def _save(self, profile: VoiceProfile, voice: RegisteredVoice | None) -> None:
        self._store.profiles.save(profile)
        # Whoever deleted the voice meanwhile may have looked for its profiles before this one was there.
        if voice and not self._store.exists(voice) and not self._store.uses(voice.sha256):
            self._store.profiles.delete(voice.sha256)

    @asynccontextmanager
    async def locked(self, key: str) -> AsyncIterator[None]:
        """Held by one at a time, in all processes. Raises Unavailable (code "voice_busy") after `lock_timeout_s`."""
        lock = self._store.profiles.lock(key)
        give_up_at = time.monotonic() + self._lock_timeout_s
        # Polled: a thread per waiter would use up those that others need.
        while (held := await self._result("locking", lock.try_acquire, partial(_let_go, lock))) is False:
            if time.monotonic() > give_up_at:
                raise Unavailable(
                    f"Another process encodes this voice since {self._lock_timeout_s:g} s. Try again later.",
                    code="voice_busy",
                    retry_after_s=5,
                )
            await asyncio.sleep(POLL_S)
        try:
            yield
        finally:
            if held:
                self._workers.submit(lock.release)

    async def _result(
        self, kind: str, work: Callable[[], T], too_late: Callable[[Future[T]], None] = lambda _: None
    ) -> T | None:
        """What `work` gives; None where the store does not work. `too_late` gets what comes when nobody waits."""
        if time.monotonic() < self._paused_until_s:
            return None
        attempt = self._workers.submit(work)
        try:
            result = await within(LONGEST_WAIT_S, asyncio.wrap_future(attempt))
        except Unavailable as error:
            self._failed(kind, error)
            return None
        except TimeoutError:
            attempt.add_done_callback(too_late)
            self._paused_until_s = time.monotonic() + PAUSE_S
            self._failed(kind, self._store.not_answering(LONGEST_WAIT_S))
            return None
        except asyncio.CancelledError:
            attempt.add_done_callback(too_late)
            raise
        self._worked(kind)
        return result

    def _failed(self, kind: str, error: Unavailable) -> None:
        if not self._failing:
            logger.warning("profiles of voices are kept in RAM only: %s", error.message)
        self._failing.add(kind)

    def _worked(self, kind: str) -> None:
        if kind in self._failing:
            self._failing.discard(kind)
            if not self._failing:
                logger.info("profiles of voices are kept in the store again")


def _let_go(lock: Lock, attempt: Future[bool]) -> None:
    if not attempt.cancelled() and attempt.exception() is None and attempt.result():
        lock.release()
