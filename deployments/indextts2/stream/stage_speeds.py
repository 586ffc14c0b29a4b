"""What the stages take at the present load, learnt from every job."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

WEIGHT = 0.2  # of a new observation: five jobs forget half of what was before
SLOW = 0.02  # of one about how crowds matter, which is in the nature of the stage
FREE = 0.4  # crowding below which segments side by side are made sooner than one after the other
LEAST_VARIANCE = 0.05  # of the logarithm of the number of segments, below which crowds have not been seen


class Cost:
    """Seconds per unit of work for any number of segments at work: base * segments ** crowding, both learnt.

    A stage that takes turns has a crowding of 1, one that batches freely 0. With it a sudden crowd is foreseen, and
    its end; a plain mean would learn of a crowd when the first listeners have run dry.
    """

    def __init__(self, unit_s: float) -> None:
        self._base_s = unit_s
        self.crowding = 1.0
        self._x = self._y = self._xx = self._xy = 0.0
        self._weight = 0.0

    def at(self, segments: float) -> float:
        return float(self._base_s * max(1.0, segments) ** self.crowding)

    def observe(self, unit_s: float, segments: float) -> None:
        if unit_s <= 0:
            return
        x, y = math.log(max(1.0, segments)), math.log(unit_s)
        self._weight += 1
        share = max(SLOW, 1 / self._weight)
        self._x, self._y = _mixed(self._x, x, share), _mixed(self._y, y, share)
        self._xx, self._xy = _mixed(self._xx, x * x, share), _mixed(self._xy, x * y, share)
        variance = self._xx - self._x**2
        if variance > LEAST_VARIANCE:
            self.crowding = min(1.0, max(0.0, (self._xy - self._x * self._y) / variance))
        self._base_s = _mixed(self._base_s, unit_s / max(1.0, segments) ** self.crowding, WEIGHT)


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
        self._code = Cost(1 / self.start_codes_per_s)
        self._evaluation = Cost(self.start_s2mel_s)

    @contextmanager
    def segment(self) -> Iterator[None]:
        """Around the work of one segment."""
        self.segments += 1
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
        return 1 / self._code.at(self.segments)

    def s2mel_s(self, frames: int, evaluations: int) -> float:
        """One job over `frames` in all, prompt included; `evaluations` is steps times rows."""
        return self.hop_s + self._evaluation.at(self.segments) * frames * evaluations

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
        self.vocoder_s_per_frame = _mixed(self.vocoder_s_per_frame, seen, WEIGHT)

    def observe_text(self, tokens: int, audio_s: float) -> None:
        if tokens > 0:
            self.audio_s_per_token = _mixed(self.audio_s_per_token, audio_s / tokens, WEIGHT)


def _mixed(before: float, seen: float, weight: float) -> float:
    return before + weight * (seen - before)
