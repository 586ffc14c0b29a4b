"""What is asked of the Kokoro stage."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.core import settings
from deployments.core.deadline import NEVER, Deadline

SAMPLE_RATE_HZ = 24_000


class Params(settings.Params):
    """Kokoro has no parameters beside voice and speed, which every model has."""


@dataclass(frozen=True, slots=True)
class KokoroJob:
    """One segment of a request. `slack_s`: time until a listener needs its first sample; smaller runs earlier."""

    text: str
    voice: str
    speed: float = 1.0
    slack_s: float = 0.0
    request_id: str = ""
    deadline: Deadline = NEVER
    refusable: bool = True  # only the first segment of a request is
