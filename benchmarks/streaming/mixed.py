"""Requests of all kinds, as users who do not know of each other send them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deployments.indextts2.gpt.job import GptJob
from deployments.indextts2.sampling import Params
from deployments.voices.sharing import SharedVoice

TEXTS = (
    "Yes.",
    "The morning train to the coast is late again.",
    "First sentence here. A second one follows it, somewhat longer than the first.",
    "Please leave your coat over there, and take a seat by the window.",
)
LEVERS: tuple[dict[str, float | int | str], ...] = (
    {},
    {"num_beams": 3},
    {"diffusion_steps": 3},
    {"guidance": 0.0},
    {"temperature": 1.3, "top_k": 0},
    {"temperature": 0.0},
    {"repetition_penalty": 1.5, "diffusion_steps": 8},
)
PARAMS = (
    Params(num_beams=1),
    Params(num_beams=3),
    Params(num_beams=1, temperature=0.0),
    Params(num_beams=2, temperature=0.0, length_penalty=1.0),
    Params(num_beams=1, temperature=1.3, top_k=0, top_p=1.0),
)


@dataclass(frozen=True)
class Ask:
    """One request, for the Python handle or for HTTP."""

    text: str
    stream: bool
    levers: Mapping[str, float | int | str]
    seed: int | None

    @property
    def fields(self) -> dict[str, Any]:
        """Those of SpeechRequest, without the text."""
        return {"stream": self.stream, "params": self.levers, "seed": self.seed}

    @property
    def body(self) -> dict[str, Any]:
        """Of POST /v1/audio/speech, without model and voice."""
        seed = {} if self.seed is None else {"seed": self.seed}
        return {
            "input": self.text,
            "stream": self.stream,
            "response_format": "pcm",
            **self.levers,
            **seed,
        }


def asks(count: int, *, seeded: bool = True) -> list[Ask]:
    """Texts, levers and ways of delivery in all combinations; every third one whole, the others as streams."""
    return [
        Ask(
            TEXTS[number % len(TEXTS)],
            stream=number % 3 != 0,
            levers=LEVERS[number % len(LEVERS)],
            seed=number if seeded else None,
        )
        for number in range(count)
    ]


def gpt_jobs(count: int, model_dim: int, voice: SharedVoice, max_codes: int) -> list[GptJob]:
    emotion = np.zeros(model_dim, np.float32)
    return [
        GptJob(
            request_id=f"job-{number}",
            voice=voice,
            emotion=emotion,
            text_ids=tuple(range(3, 8 + 5 * (number % 7))),
            params=PARAMS[number % len(PARAMS)].changed({"max_codes": max_codes // (1 + number % 3)}),
            seed=number,
            emit_codes=(0, 5, 12)[number % 3],
        )
        for number in range(count)
    ]
