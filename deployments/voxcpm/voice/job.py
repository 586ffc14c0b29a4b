"""Jobs of the encoder: recordings of voices."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.core.deadline import NEVER, Deadline
from deployments.voices.reference import ReferenceAudio

# Arrays of a profile, float32 (T, P, D): the recording as something that is continued, and, in version 2, as an
# example of the voice alone.
PROMPT_PATCHES = "prompt_patches"
REFERENCE_PATCHES = "reference_patches"


@dataclass(frozen=True, slots=True)
class VoiceJob:
    """The profile of the voice in a recording. All of the recording is used."""

    request_id: str
    recording: ReferenceAudio
    slack_s: float = 0.0
    deadline: Deadline = NEVER
    refusable: bool = True
