"""Jobs of the Speaker stage: voices, and what recordings and texts say about emotion."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.core.deadline import NEVER, Deadline
from deployments.voices.reference import ReferenceAudio

MAX_REFERENCE_S = 15  # what the model was trained on; the rest of a recording is not used


@dataclass(frozen=True, slots=True)
class EncodeJob:
    """The profile of the voice in a recording, of which the first 15 s are used: see `reference_warnings`."""

    request_id: str
    recording: ReferenceAudio
    slack_s: float = 0.0
    deadline: Deadline = NEVER
    refusable: bool = True


@dataclass(frozen=True, slots=True)
class EmotionAudioJob:
    """The emotion vector e(F_emo) of a recording, of which the first 15 s are used."""

    request_id: str
    recording: ReferenceAudio
    slack_s: float = 0.0
    deadline: Deadline = NEVER
    refusable: bool = True


@dataclass(frozen=True, slots=True)
class EmotionTextJob:
    """Eight weights, in the order of EMOTIONS, for the feeling that a text describes or shows.

    A language model reads it, which takes seconds on a CPU: it stops at the deadline, and when the caller leaves.
    """

    request_id: str
    text: str
    slack_s: float = 0.0
    deadline: Deadline = NEVER
    refusable: bool = True


def reference_warnings(duration_s: float) -> tuple[str, ...]:
    """What whoever gave a recording of `duration_s` should know about how this stage uses it."""
    if duration_s <= MAX_REFERENCE_S:
        return ()
    return (f"Only the first {MAX_REFERENCE_S} s of the {duration_s:.1f} s recording are used.",)
