"""How a voice travels with a job: its key, and where to get the arrays if the stage does not hold them yet."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass

from deployments.voices.profile import VoiceProfile


@dataclass(frozen=True, slots=True)
class VoiceTicket:
    """`key` is content-addressed, so a stage may cache by it for ever. `profile` is awaited on a miss only: in the
    graph it is an object reference, and the arrays cross a process boundary once per replica, not once per job."""

    key: str
    profile: Awaitable[VoiceProfile]
