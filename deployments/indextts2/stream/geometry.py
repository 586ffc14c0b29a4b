"""How codes, mel frames and samples of a segment relate."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from deployments.indextts2.s2mel.job import mel_frames


@dataclass(frozen=True, slots=True)
class Geometry:
    """`halo_frames`: mel on each side of a frame that its samples depend on (indextts2-back.md 7)."""

    halo_frames: int
    hop: int
    sample_rate_hz: int
    frames_per_code: Fraction

    def frames(self, codes: int) -> int:
        """Mel frames after `codes` codes, rounded down."""
        return mel_frames(codes, self.frames_per_code)

    def codes_for(self, frames: int) -> int:
        """The fewest codes that make at least `frames` mel frames."""
        return -(-frames * self.frames_per_code.denominator // self.frames_per_code.numerator)

    def audible_frames(self, codes: int) -> int:
        """Frames whose samples are certain when the mel of `codes` codes is final and more will follow."""
        return max(0, self.frames(codes) - self.halo_frames)

    def seconds(self, frames: int) -> float:
        return frames * self.hop / self.sample_rate_hz

    @property
    def code_s(self) -> float:
        """How long a code is heard, on average."""
        return float(self.frames_per_code) * self.hop / self.sample_rate_hz
