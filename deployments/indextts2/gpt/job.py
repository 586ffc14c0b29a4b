"""What is asked of the GPT stage, and what it sends back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.voices.ticket import VoiceTicket


@dataclass(frozen=True, slots=True)
class Sampling:
    """How codes are chosen; the defaults are the reference's (indextts2-front.md 7.1)."""

    sample: bool = True
    beams: int = 3
    top_k: int = 30  # 0: off
    top_p: float = 0.8
    temperature: float = 0.8
    repetition_penalty: float = 10.0
    length_penalty: float = 0.0
    typical_mass: float | None = None
    max_codes: int = 1500


@dataclass(frozen=True, slots=True)
class GptJob:
    """One segment of text. Draws are a function of (`seed`, `stream`, step); `stream` is the segment's index."""

    voice: VoiceTicket
    emotion: npt.NDArray[np.float32]  # (D,), already mixed; added to every speaker latent
    text_ids: tuple[int, ...]  # without start and stop
    sampling: Sampling
    seed: int
    stream: int = 0
    emit_codes: int = 0  # codes per CodeChunk; 0: one chunk with everything at the end
    slack_s: float = 0.0  # time until a listener needs the first sample of this segment


@dataclass(frozen=True, slots=True)
class CodeChunk:
    """The next codes of a segment with their latents (indextts2-front.md 8). The last one is `finished`."""

    codes: npt.NDArray[np.int64]  # (n,), without the stop code; n may be 0 in the last chunk
    latents: npt.NDArray[np.float32]  # (n, D)
    finished: bool
    limit_reached: bool = False  # the model did not stop by itself
