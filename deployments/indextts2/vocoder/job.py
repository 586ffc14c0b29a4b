"""Jobs of the Vocoder stage: a window of a mel to be made into samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class VocodeJob:
    """Samples for frames [start, end) of `mel`. The ends of `mel` count as true ends of the utterance.

    A mel that still grows needs `halo_frames` of context beyond `end`; one whose beginning was dropped needs as many
    before `start`.
    """

    request_id: str
    mel: npt.NDArray[np.float32]  # (bands, T)
    start: int
    end: int
    slack_s: float = 0.0
    deadline: Deadline = NEVER
    refusable: bool = True

    def span(self, halo_frames: int) -> tuple[int, int]:
        """First and last frame + 1 that are needed: the window with its halo."""
        return max(0, self.start - halo_frames), min(self.mel.shape[1], self.end + halo_frames)

    def check(self, bands: int) -> None:
        """Raises InvalidRequest if the job makes no sense for a vocoder of so many bands."""
        if self.mel.ndim != 2 or self.mel.shape[0] != bands:
            raise InvalidRequest(f"vocoder: a mel of shape {self.mel.shape}; expected ({bands}, frames)")
        frames = self.mel.shape[1]
        if not 0 <= self.start < self.end <= frames:
            raise InvalidRequest(f"vocoder: frames [{self.start}, {self.end}) of a mel with {frames} frames")
        if not np.isfinite(self.mel).all():
            raise InvalidRequest("vocoder: the mel holds values that are not finite")
