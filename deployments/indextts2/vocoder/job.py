"""What is asked of the Vocoder stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class VocodeJob:
    """Samples for frames [start, end) of `mel`. The ends of `mel` count as true ends: elsewhere it must hold
    `halo_frames` of context beyond `start` and `end`."""

    mel: npt.NDArray[np.float32]  # (80, T)
    start: int
    end: int
