"""What the policy reads and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.core.errors import SpeechError

FALLBACK = "fallback:"  # in a reason, before the name of the model that was wanted
UNKNOWN_S = 1.0  # to the first audio of a model that has not spoken yet


@dataclass(frozen=True, slots=True)
class Load:
    """Live figures of one model. `first_audio_s`: what a request that comes now may expect, None where nothing is
    known."""

    first_audio_s: float | None = None
    audio_s_per_s: float | None = None  # that the model makes
    ready: bool = True  # False: it is known to be down
    full: bool = False  # it would refuse a request that came now
    asleep: bool = False  # it has no replica at rest; `first_audio_s` has the start of one in it

    def expected_first_audio_s(self, unknown_s: float = UNKNOWN_S) -> float:
        return unknown_s if self.first_audio_s is None else self.first_audio_s

    @property
    def state(self) -> str:
        return "down" if not self.ready else "asleep" if self.asleep else "full" if self.full else "up"


@dataclass(frozen=True, slots=True)
class Choice:
    model: str
    reason: str

    @property
    def instead_of(self) -> str | None:
        """The model that would have answered if it could."""
        return self.reason.removeprefix(FALLBACK) if self.reason.startswith(FALLBACK) else None

    def warnings(self, voice: str) -> tuple[str, ...]:
        """What a client is told where another speaker than the wanted one, `voice`, answers."""
        if self.instead_of is None:
            return ()
        return (
            f"model {self.instead_of!r} cannot answer now: voice {voice!r} of model {self.model!r} speaks",
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model as it was judged for one request. `reason` is empty where the model is not tried."""

    model: str
    reason: str
    objections: tuple[str, ...]  # why it cannot serve
    wishes_unmet: tuple[str, ...]
    load: Load
    quality_rank: int


@dataclass(frozen=True, slots=True)
class Decision:
    """`choices` are tried in this order, those after the first only before the first byte. `candidates` are all models:
    those in their order, then the others. `problem`: why there is no choice."""

    choices: tuple[Choice, ...]
    candidates: tuple[Candidate, ...]
    problem: SpeechError | None = None
    rule: str | None = None  # the name of the rule that decided
    may_fill: bool = False  # the answer may begin with an interjection while the model works
    wake: str | None = None  # the model that sleeps and would be first if it did not
