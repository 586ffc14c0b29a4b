"""What the stages take at the present load, learnt from every job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deployments.streaming.crowd_cost import WEIGHT, CrowdCost, mixed

FREE = 0.1  # crowding below which segments side by side are made sooner than one after the other


@dataclass
class StageSpeeds:
    """Estimates of one model, shared by all its requests; they include waiting for a turn in the stage.

    The start values are those of a fast GPU with one segment at work. They only matter until the first request has
    been measured.
    """

    start_codes_per_s: float = 100.0
    start_s2mel_s: float = 2e-6  # per frame, step and row; guidance doubles the rows
    vocoder_s_per_frame: float = 5e-5
    hop_s: float = 0.003  # a call to a stage and back
    audio_s_per_token: float = 0.22  # of text
    segments: int = 0  # at work now

    def __post_init__(self) -> None:
        self._code = CrowdCost(1 / self.start_codes_per_s)
        self._evaluation = CrowdCost(self.start_s2mel_s)
        self._usual_segments = 1.0

    @contextmanager
    def segment(self) -> Iterator[None]:
        """Around the work of one segment."""
        self.segments += 1
        self._usual_segments = mixed(self._usual_segments, self.segments, WEIGHT)
        try:
            yield
        finally:
            self.segments -= 1

    @property
    def rows_are_free(self) -> bool:
        """Whether a step of the GPT takes hardly longer with more rows, as far as is known."""
        return self._code.crowding < FREE

    @property
    def codes_per_s(self) -> float:
        return 1 / self._code.at(self._expected_segments)

    def s2mel_s(self, frames: int, evaluations: int) -> float:
        """One job over `frames` in all, prompt included; `evaluations` is steps times rows."""
        return self.hop_s + self._evaluation.at(self._expected_segments) * frames * evaluations

    @property
    def _expected_segments(self) -> float:
        """At work in the near future: where others come and go, who is alone now will not be for long."""
        return max(self.segments, self._usual_segments)

    def vocoder_s(self, frames: int) -> float:
        return self.hop_s + self.vocoder_s_per_frame * frames

    def observe_codes(self, codes: int, elapsed_s: float) -> None:
        if codes > 0 and elapsed_s > 0:
            # Seconds per code, not codes per second: a stall then weighs as much as it lasted.
            self._code.observe(elapsed_s / codes, self.segments)

    def observe_s2mel(self, frames: int, evaluations: int, elapsed_s: float, segments: float) -> None:
        """`segments`: at work meanwhile, on average."""
        self._evaluation.observe(max(0.0, elapsed_s - self.hop_s) / (frames * evaluations), segments)

    def observe_vocoder(self, frames: int, elapsed_s: float) -> None:
        seen = max(0.0, elapsed_s - self.hop_s) / frames
        self.vocoder_s_per_frame = mixed(self.vocoder_s_per_frame, seen, WEIGHT)

    def observe_text(self, tokens: int, audio_s: float) -> None:
        if tokens > 0:
            self.audio_s_per_token = mixed(self.audio_s_per_token, audio_s / tokens, WEIGHT)
