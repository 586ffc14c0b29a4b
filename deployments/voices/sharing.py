"""Voice profiles as tickets: each lies in the object store once, for as long as it is in use or likely to be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import ray

from deployments.voices.cache import ByteLRU
from deployments.voices.profile import VoiceProfile
from deployments.voices.ticket import VoiceTicket

Share = Callable[[VoiceProfile], Awaitable[VoiceProfile]]


@dataclass(frozen=True, slots=True)
class _Held:
    ticket: VoiceTicket
    nbytes: int


class Tickets:
    """The object of a ticket lives while it is kept here or a request holds the ticket. One event loop only."""

    def __init__(self, max_bytes: int, share: Share = ray.put) -> None:
        self._share = share
        self._kept: ByteLRU[_Held] = ByteLRU(max_bytes, lambda held: held.nbytes)

    def ticket(self, profile: VoiceProfile) -> VoiceTicket:
        """No await between look-up and put, so two requests at once share one object."""
        held = self._kept.get(profile.key)
        if held is None:
            held = _Held(VoiceTicket(profile.key, self._share(profile)), profile.nbytes)
            self._kept.put(profile.key, held)
        return held.ticket
