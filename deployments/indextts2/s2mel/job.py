"""Jobs of the S2Mel stage: the next frames of a segment, from the codes that are new."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import InvalidRequest
from deployments.indextts2.sampling import Params
from deployments.voices.sharing import SharedVoice

# What the model was made for (indextts2.5-delta.md 6).
LEAST_DURATION_FACTOR, MOST_DURATION_FACTOR = 0.5, 2.0

Mel = npt.NDArray[np.float32]
"""Log-mel, (bands, frames)."""


def mel_frames(codes: int, frames_per_code: Fraction, duration_factor: float = 1.0) -> int:
    """Mel frames of the first `codes` codes of a segment: rounded down in float64, as published (indextts2.5-delta.md
    6). Without a factor these are the exact ones, for as many codes as there can be (indextts2-back.md 3.2)."""
    return int(codes * float(frames_per_code) * duration_factor)


@dataclass(frozen=True, slots=True)
class S2MelJob:
    """Make the frames from `committed_frames` to the last one of all codes so far.

    A replica keeps what it was sent of a segment and the mel it made, so a job carries what is new: the codes from
    `first_code` on, and no mel. One that does not know the segment answers None; then the job is sent again complete:
    with all codes and the committed mel. Any replica can take a complete job, any job can be repeated, and the mel has
    the same bits either way. Every job of a segment brings codes, so a replica that knows the codes before them has
    made the frames before them as well. Frame positions and noise are absolute in the segment: noise is a function of
    (`seed`, `stream`, frame).
    """

    request_id: str
    segment: str  # names this segment of this synthesis; no other one may ever have had the name
    voice: SharedVoice
    first_code: int  # of `codes`, counted in the segment: so many were sent before
    codes: npt.NDArray[np.int64]  # (m,) look-ahead included
    latents: npt.NDArray[np.float32]  # (m, D)
    committed_frames: int  # F0: frames that are final; 0 in the first job
    committed: Mel | None  # (bands, F0), or None: the first F0 frames of what the replica made
    seed: int
    stream: int
    params: Params
    steps: int | None = None  # None: params.diffusion_steps
    duration_factor: float = 1.0  # above 1: slower, with the same codes; the same in all jobs of a segment
    open_end: bool = False  # more codes follow
    last: bool = False  # of the segment, of which nothing need be kept any more
    slack_s: float = 0.0
    deadline: Deadline = NEVER
    refusable: bool = True

    @property
    def code_count(self) -> int:
        """Codes of the segment so far, those that were sent before included."""
        return self.first_code + len(self.codes)

    @property
    def complete(self) -> bool:
        """Whether it can be run by a replica that knows nothing of the segment."""
        return self.first_code == 0 and (self.committed is not None or self.committed_frames == 0)

    @property
    def euler_steps(self) -> int:
        return self.params.diffusion_steps if self.steps is None else self.steps

    def check(
        self,
        *,
        bands: int,
        latent_width: int,
        known_codes: int,
        frames_per_code: Fraction,
        stretches: bool,
    ) -> None:
        """Raises InvalidRequest if the job makes no sense for a model of these sizes; codes below `known_codes` stand
        for sound."""
        self._check_duration(stretches)
        count, committed = len(self.codes), self.committed_frames
        mel = (bands, committed) if self.committed is None else self.committed.shape
        expected = ((count,), (count, latent_width), (bands, committed))
        if (self.codes.shape, self.latents.shape, mel) != expected:
            raise InvalidRequest(
                f"s2mel: codes {self.codes.shape}, latents {self.latents.shape}, committed {mel}; expected (m,), "
                f"(m, {latent_width}), ({bands}, {committed})"
            )
        if self.first_code < 0 or count == 0:
            raise InvalidRequest(
                f"s2mel: {count} codes from {self.first_code} on; a job brings 1 or more, from 0 on or later"
            )
        if not 0 <= int(self.codes.min()) <= int(self.codes.max()) < known_codes:
            raise InvalidRequest(
                f"s2mel: codes {self.codes.min()} to {self.codes.max()}; only 0 to {known_codes - 1} stand for sound"
            )
        frames = mel_frames(self.code_count, frames_per_code, self.duration_factor)
        if not 0 <= committed < frames:
            raise InvalidRequest(
                f"s2mel: {self.code_count} codes make {frames} frames, and {committed} are committed already; "
                "send more codes"
            )
        if self.euler_steps < 1:
            raise InvalidRequest(f"s2mel: {self.euler_steps} steps; at least 1 is needed")

    def _check_duration(self, stretches: bool) -> None:
        least, most = (LEAST_DURATION_FACTOR, MOST_DURATION_FACTOR) if stretches else (1.0, 1.0)
        if not least <= self.duration_factor <= most:
            raise InvalidRequest(
                f"s2mel: a duration factor of {self.duration_factor:g}; this model takes {least:g} to {most:g}",
                param="speed",
            )
