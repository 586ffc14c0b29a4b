"""How codes, mel frames and samples of a segment relate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from deployments.indextts2.s2mel.job import mel_frames


@dataclass(frozen=True, slots=True)
class Geometry:
    """`halo_frames`: mel on each side of a frame that its samples depend on (indextts2-back.md 7). `duration_factor`:
    how many times as long as usual a code lasts (indextts2.5-delta.md 6). `edge_codes`: as in Traits."""

    halo_frames: int
    hop: int
    sample_rate_hz: int
    frames_per_code: Fraction
    edge_codes: int = 0
    duration_factor: float = 1.0

    def stretched(self, duration_factor: float) -> Geometry:
        """That of a segment that is to last so many times as long; only where the model stretches."""
        return replace(self, duration_factor=duration_factor)

    def frames(self, codes: int) -> int:
        """Mel frames after `codes` codes, rounded down."""
        return mel_frames(codes, self.frames_per_code, self.duration_factor)

    def codes_for(self, frames: int) -> int:
        """The fewest codes that make at least `frames` mel frames."""
        codes = max(0, int(frames / self._frames_of_a_code) - 1)
        while self.frames(codes) < frames:
            codes += 1
        return codes

    def audible_frames(self, codes: int) -> int:
        """Frames whose samples are certain when the mel of `codes` codes is final and more will follow."""
        return max(0, self.frames(codes) - self.halo_frames)

    def seconds(self, frames: int) -> float:
        return frames * self.hop / self.sample_rate_hz

    @property
    def code_s(self) -> float:
        """How long a code is heard, on average."""
        return self._frames_of_a_code * self.hop / self.sample_rate_hz

    @property
    def _frames_of_a_code(self) -> float:
        return float(self.frames_per_code) * self.duration_factor
