"""Voices as they travel with jobs: each profile lies in the object store once, and crosses to a replica once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from deployments.voices.cache import ByteLRU
from deployments.voices.profile import VoiceProfile

Share = Callable[[VoiceProfile], Awaitable[VoiceProfile]]
"""Puts a profile where every replica can get it; `ray.put` in the graph."""


@dataclass(frozen=True, slots=True)
class SharedVoice:
    """`key` is content-addressed, so a stage may cache by it for ever. `profile` is awaited on a miss only: in the
    graph it is an object reference, and the arrays cross a process boundary once per replica, not once per job."""

    key: str
    profile: Awaitable[VoiceProfile]


@dataclass(frozen=True, slots=True)
class _Held:
    voice: SharedVoice
    nbytes: int


class SharedVoices:
    """An object lives while it is kept here or a request holds its SharedVoice. One event loop only."""

    def __init__(self, max_bytes: int, share: Share) -> None:
        self._share = share
        self._kept: ByteLRU[_Held] = ByteLRU(max_bytes, lambda held: held.nbytes)

    def shared(self, profile: VoiceProfile) -> SharedVoice:
        """No await between look-up and put, so two requests at once share one object."""
        held = self._kept.get(profile.key)
        if held is None:
            held = _Held(SharedVoice(profile.key, self._share(profile)), profile.nbytes)
            self._kept.put(profile.key, held)
        return held.voice
