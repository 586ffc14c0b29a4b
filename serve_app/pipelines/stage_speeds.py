"""What the stages take at the present load, learnt from every job."""

from __future__ import annotations

from dataclasses import dataclass

WEIGHT = 0.2  # of a new observation: five jobs forget half of what was before


@dataclass
class StageSpeeds:
    """Estimates of one model, shared by all its requests; they include waiting for a turn in the stage.

    The start values are those of a fast GPU. They only matter until the first request has been measured.
    """

    codes_per_s: float = 100.0
    s2mel_s_per_evaluation: float = 2e-6  # per frame, step and row; guidance doubles the rows
    vocoder_s_per_frame: float = 5e-5
    hop_s: float = 0.003  # a call to a stage and back
    audio_s_per_token: float = 0.22  # of text

    def s2mel_s(self, frames: int, evaluations: int) -> float:
        """One job over `frames` in all, prompt included; `evaluations` is steps times rows."""
        return self.hop_s + self.s2mel_s_per_evaluation * frames * evaluations

    def vocoder_s(self, frames: int) -> float:
        return self.hop_s + self.vocoder_s_per_frame * frames

    def observe_codes(self, codes: int, elapsed_s: float) -> None:
        if codes > 0 and elapsed_s > 0:
            # Averaged as seconds per code: a stall then weighs as much as it lasted.
            self.codes_per_s = 1 / _mixed(1 / self.codes_per_s, elapsed_s / codes)

    def observe_s2mel(self, frames: int, evaluations: int, elapsed_s: float) -> None:
        seen = max(0.0, elapsed_s - self.hop_s) / (frames * evaluations)
        self.s2mel_s_per_evaluation = _mixed(self.s2mel_s_per_evaluation, seen)

    def observe_vocoder(self, frames: int, elapsed_s: float) -> None:
        seen = max(0.0, elapsed_s - self.hop_s) / frames
        self.vocoder_s_per_frame = _mixed(self.vocoder_s_per_frame, seen)

    def observe_text(self, tokens: int, audio_s: float) -> None:
        if tokens > 0:
            self.audio_s_per_token = _mixed(self.audio_s_per_token, audio_s / tokens)


def _mixed(before: float, seen: float) -> float:
    return before + WEIGHT * (seen - before)
