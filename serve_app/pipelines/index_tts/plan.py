"""A request as IndexTTS2 will run it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.gpt.job import Sampling
from deployments.voices.ticket import VoiceTicket
from serve_app.pipelines.base import Plan
from serve_app.pipelines.index_tts.segment_stream import Synthesis


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
