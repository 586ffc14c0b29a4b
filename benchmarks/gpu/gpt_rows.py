"""Jobs for the GPT's engine, and the engine in each of the ways it can run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.known import Known
from deployments.core.logs import logger
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.engine import GptEngine, load_model
from deployments.indextts2.gpt.job import GptJob
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.sampling import Params
from deployments.indextts2.settings import GptSettings
from deployments.voices.profile import VoiceProfile
from deployments.voices.sharing import SharedVoice

GREEDY = Params(temperature=0.0, num_beams=1)
ROWS = 8


@dataclass(frozen=True)
class Mode:
    """A way to run the steps of the GPT."""

    graphs: bool = False
    compile: bool = False

    def __str__(self) -> str:
        words = [word for word, on in (("compile", self.compile), ("graph", self.graphs)) if on]
        return "+".join(words) or "eager"


MODES = (Mode(), Mode(graphs=True), Mode(compile=True), Mode(graphs=True, compile=True))


@dataclass(frozen=True)
class Rows:
    """Eight texts of other lengths in one voice."""

    latents: npt.NDArray[np.float32]  # (condition_num_latent, D)
    emotion: npt.NDArray[np.float32]  # (D,)
    texts: tuple[tuple[int, ...], ...]
    codes: int

    @staticmethod
    def of(checkpoint: IndexTTSCheckpoint, *, text_tokens: int, codes: int) -> Rows:
        dims, generator = checkpoint.gpt_dims, np.random.default_rng(3)
        shape = (dims.condition_num_latent, dims.model_dim)
        most = min(dims.number_text_tokens, 500)
        texts = [generator.integers(2, most, max(2, text_tokens - i % 5)).tolist() for i in range(ROWS)]
        return Rows(
            generator.standard_normal(shape).astype(np.float32),
            generator.standard_normal(dims.model_dim).astype(np.float32),
            tuple(map(tuple, texts)),
            codes,
        )

    @property
    def voice(self) -> SharedVoice:
        return SharedVoice("voice", Known(VoiceProfile({"speaker_latents": self.latents})))

    @property
    def max_length(self) -> int:
        """Positions that a slot needs."""
        return len(self.latents) + max(map(len, self.texts)) + 6 + self.codes

    def job(self, row: int, params: Params, *, emit_codes: int = 0) -> GptJob:
        return GptJob(
            request_id=f"row-{row}",
            voice=self.voice,
            emotion=self.emotion,
            text_ids=self.texts[row],
            params=params.changed({"max_codes": self.codes}),
            seed=row,
            stream=row,
            emit_codes=emit_codes,
        )

    def jobs(self, params: Params, *, emit_codes: int = 0) -> list[GptJob]:
        return [self.job(row, params, emit_codes=emit_codes) for row in range(ROWS)]

    def prefix(self, model: SpeechGpt, row: int) -> Tensor:
        latents, emotion = torch.from_numpy(self.latents), torch.from_numpy(self.emotion)
        return model.prefix(latents, emotion, self.texts[row])


@dataclass(frozen=True)
class Spoken:
    codes: list[int]
    latents: npt.NDArray[np.float32]


def load(checkpoint: IndexTTSCheckpoint, device: str, dtype: torch.dtype) -> SpeechGpt:
    return load_model(checkpoint, device=device, dtype=dtype)


@contextmanager
def engine(model: SpeechGpt, mode: Mode, *, slots: int, max_length: int) -> Iterator[GptEngine]:
    """A running engine; afterwards the model is as before, so that the next mode may have it."""
    settings = GptSettings(
        slots=slots,
        max_waiting=slots,
        max_length=max_length,
        cuda_graphs=mode.graphs,
        compile=mode.compile,
    )
    running = GptEngine(model, settings)
    running.start()
    try:
        yield running
    finally:
        running.stop()
        if mode.compile:
            model.gpt.compile_blocks(False)


@contextmanager
def given_up() -> Iterator[list[str]]:
    """What the GPT was asked for meanwhile and does without, graphs or compilation: it logs the reason and goes on."""
    warnings = Warnings()
    logger.addHandler(warnings)
    try:
        yield warnings.texts
    finally:
        logger.removeHandler(warnings)


class Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


async def say(running: GptEngine, job: GptJob) -> Spoken:
    chunks = [reply.value async for reply in running.stream(job)]
    codes = np.concatenate([chunk.codes for chunk in chunks]).tolist()
    return Spoken(codes, np.concatenate([chunk.latents for chunk in chunks]))


def together(running: GptEngine, jobs: Sequence[GptJob]) -> list[Spoken]:
    async def all_of_them() -> list[Spoken]:
        return await asyncio.gather(*(say(running, job) for job in jobs))

    return asyncio.run(all_of_them())


def one_by_one(running: GptEngine, jobs: Sequence[GptJob]) -> list[Spoken]:
    async def each() -> list[Spoken]:
        return [await say(running, job) for job in jobs]

    return asyncio.run(each())
