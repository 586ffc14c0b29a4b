"""A request as IndexTTS2 will run it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.core.pipeline import Plan
from deployments.indextts2.gpt.job import Sampling
from deployments.indextts2.stream.segment_stream import Synthesis
from deployments.voices.ticket import VoiceTicket


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPlan(Plan):
    ticket: VoiceTicket
    prompt_frames: int
    emotion: npt.NDArray[np.float32]  # (D,)
    sampling: Sampling
    synthesis: Synthesis
    max_text_tokens: int
    published_text: bool  # segment the text exactly as the reference does
    seed: int
    pause_s: float
    warnings: tuple[str, ...]
    speaker_s: float  # spent on voice and emotion
