"""What is asked of the Kokoro stage."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.core import settings
from deployments.core.deadline import NEVER, Deadline
from deployments.core.speech import Samples

SAMPLE_RATE_HZ = 24_000
UNSPEAKABLE = "unspeakable_input"  # code of the error for a segment in which nothing can be spoken


class Params(settings.Params):
    """Kokoro has no parameters beside voice and speed, which every model has."""


@dataclass(frozen=True, slots=True)
class KokoroJob:
    """One segment of a request. `slack_s`: time until a listener needs its first sample; smaller runs earlier.

    `alone`: it takes all threads of the replica; otherwise one of them, and another segment may be spoken beside it.
    """

    text: str
    voice: str
    speed: float = 1.0
    slack_s: float = 0.0
    request_id: str = ""
    deadline: Deadline = NEVER
    refusable: bool = True  # only the first segment of a request is
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Spoken:
    """A segment as the network made it, (n,) at 24 kHz, and how long that took."""

    samples: Samples
    work_s: float


DEFAULT_CHARS_PER_S = 14.0  # at which text is expected to be spoken; others than Latin ones count for several
