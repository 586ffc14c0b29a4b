"""How codes, mel frames and samples of a segment relate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Geometry:
    """`halo_frames`: mel on each side of a frame that its samples depend on (indextts2-back.md 7)."""

    halo_frames: int
    hop: int
    sample_rate_hz: int
    frames_per_25_codes: int = 43

    def frames(self, codes: int) -> int:
        """Mel frames after `codes` codes: floor(1.72 n), exact in integers (indextts2-back.md 3.2)."""
        return codes * self.frames_per_25_codes // 25

    def audible_frames(self, codes: int) -> int:
        """Frames whose samples are certain when the mel of `codes` codes is final and more will follow."""
        return max(0, self.frames(codes) - self.halo_frames)

    def seconds(self, frames: int) -> float:
        return frames * self.hop / self.sample_rate_hz

    def codes_for(self, frames: int) -> int:
        """The fewest codes that have at least `frames` frames."""
        return -(-frames * 25 // self.frames_per_25_codes)
