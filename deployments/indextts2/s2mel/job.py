"""What is asked of the S2Mel stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.voices.ticket import VoiceTicket


@dataclass(frozen=True, slots=True)
class S2MelJob:
    """Make the frames that follow `committed`: from frame F0 to floor(1.72 n), where n counts all codes so far.

    The job carries everything that came before in its segment, so any replica can take it and it can be repeated.
    Frame positions and noise are absolute in the segment: noise is a function of (`seed`, `stream`, frame).
    """

    voice: VoiceTicket
    codes: npt.NDArray[np.int64]  # (n,) all codes of the segment so far, look-ahead included
    latents: npt.NDArray[np.float32]  # (n, D)
    committed: npt.NDArray[np.float32]  # (80, F0) mel that is already final; F0 = 0 in the first job
    seed: int
    stream: int = 0
    steps: int = 25
    guidance: float = 0.7
    open_end: bool = False  # more codes follow
    slack_s: float = 0.0
