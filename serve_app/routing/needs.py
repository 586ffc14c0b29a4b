"""What a request demands of a model, and what it would like."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.core.catalogue import ModelCard

NO_TRANSCRIPT = "clones only where it is told what is said in the recording (ref_text)"


@dataclass(frozen=True, slots=True)
class Needs:
    """Beside a name. `instructions` and `sample_rate_hz` are wishes: no request is refused for them."""

    language: str | None = None
    cloning: bool = False
    emotion: bool = False
    owners: frozenset[str] | None = None  # models that have the wanted voice; None: no voice was named, or
    voice_unknown: bool = (
        False  # it may have been uploaded a moment ago, which the models that clone find out
    )
    transcript: bool = True  # what is said in the recording to be cloned is known, or nothing is cloned
    dialogue: bool = False
    instructions: bool = False
    sample_rate_hz: int | None = None

    def objections(self, card: ModelCard) -> list[str]:
        """Why `card` cannot serve; empty if it can."""
        found = []
        if self.owners is not None and card.name not in self.owners:
            found.append("does not have this voice")
        if self.cloning and not card.cloning:
            found.append("cannot clone a voice")
        if card.cloning_needs_transcript and not self.transcript:
            found.append(NO_TRANSCRIPT)
        if self.emotion and not card.emotion:
            found.append("has no emotion control")
        if self.dialogue and not card.dialogue:
            found.append("speaks no dialogues")
        if self.language and self.language not in card.languages:
            spoken = ", ".join(card.languages)
            found.append(f"does not speak {self.language!r}, but {spoken}")
        return found

    def ignores_instructions(self, card: ModelCard) -> bool:
        return self.instructions and not card.instructions

    def is_resampled_up(self, card: ModelCard) -> bool:
        """Whether the answer has a higher rate than what the model makes."""
        return self.sample_rate_hz is not None and card.sample_rate_hz < self.sample_rate_hz

    def wishes_unmet(self, card: ModelCard) -> list[str]:
        """What a listener would miss of what the request would like."""
        found = []
        if self.ignores_instructions(card):
            found.append("does not follow instructions")
        if self.is_resampled_up(card):
            found.append(f"makes {card.sample_rate_hz} Hz, which is resampled to {self.sample_rate_hz}")
        return found
