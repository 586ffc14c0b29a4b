"""Jobs for the golden checkpoint, and what the plain loop makes of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from deployments.core.metrics import StageMetrics
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.decoding import DecodedCodes
from deployments.indextts2.gpt.engine import GptEngine, load_model
from deployments.indextts2.gpt.generation import generate, latents_of
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.sampling import Params
from deployments.voices.profile import VoiceProfile
from deployments.voices.sharing import SharedVoice

PARAMS = (
    Params(temperature=0.0, num_beams=1),
    Params(num_beams=1),
    Params(),
    Params(temperature=0.0, num_beams=2, length_penalty=1.0),
    Params(num_beams=1, top_k=0, top_p=1.0, temperature=1.3),
    Params(num_beams=4, repetition_penalty=2.0),
)


class CountedProfile:
    """A profile that counts how often it is fetched."""

    def __init__(self, profile: VoiceProfile) -> None:
        self.profile = profile
        self.fetched = 0

    def __await__(self) -> Generator[Any, None, VoiceProfile]:
        self.fetched += 1
        return self.profile
        yield


@dataclass(frozen=True)
class Golden:
    """The tiny checkpoint with one recorded voice."""

    model: SpeechGpt
    latents: np.ndarray
    emotion: np.ndarray
    texts: tuple[tuple[int, ...], ...]

    @staticmethod
    def load(front: Path, *, stop_bias: float = 0.0) -> Golden:
        """`stop_bias` is added to the logit of the stop code: a large one ends, or never ends, every decoding."""
        model = load_model(IndexTTSCheckpoint(front / "ckpt"), device="cpu", dtype=torch.float32)
        bias = model.mel_head.bias.detach().clone()
        bias[model.dims.stop_mel_token] += stop_bias
        model.mel_head.bias = torch.nn.Parameter(bias, requires_grad=False)
        recorded = load_file(front / "gpt_prefix_logits.safetensors")
        emotion = recorded["emovec"][0]
        latents = recorded["conds_34"][0, : model.dims.condition_num_latent] - emotion
        marks = (model.dims.start_text_token, model.dims.stop_text_token)
        ids = [i for i in recorded["text1.ids"].flatten().tolist() if i not in marks]
        longest = model.dims.max_text_tokens
        texts = (
            tuple(ids[:longest]),
            tuple(ids[: len(ids) // 2 + 1]),
            tuple((ids * 9)[:longest]),
            tuple(ids[:2]),
        )
        return Golden(model, latents.numpy(), emotion.numpy(), texts)

    def up_to(self, codes: int) -> int:
        """As many codes, or all that the model can."""
        return min(codes, self.model.max_codes)

    def voice(self, scale: float = 1.0) -> SharedVoice:
        profile = VoiceProfile({"speaker_latents": self.latents * np.float32(scale)})
        return SharedVoice(f"voice-{scale}", CountedProfile(profile))

    def job(self, number: int = 0, **changes: Any) -> GptJob:
        """Jobs of different kinds, lengths and chunk sizes; `changes` are fields of GptJob."""
        most = self.model.max_codes
        max_codes = (most, most // 2, self.up_to(7))[number // 2 % 3]
        params = changed(PARAMS[number % len(PARAMS)], max_codes=max_codes)
        job = GptJob(
            request_id=f"request-{number}",
            voice=self.voice(1.0 + number % 2),
            emotion=self.emotion * np.float32(1 + number % 3),
            text_ids=self.texts[number % len(self.texts)],
            params=params,
            seed=number // 4,
            stream=number % 4,
            emit_codes=(0, 1, 5, 16)[number // 3 % 4],
        )
        return replace(job, **changes)

    async def alone(self, job: GptJob) -> tuple[DecodedCodes, torch.Tensor]:
        """Codes and latents (M,D) of the plain loop and one latent pass."""
        latents = torch.tensor((await job.voice.profile)["speaker_latents"])
        prefix = self.model.prefix(latents, torch.tensor(job.emotion), job.text_ids)
        decoded = generate(self.model, prefix, job.params, seed=job.seed, stream=job.stream)
        return decoded, latents_of(self.model, prefix, decoded.codes)


def joined(chunks: Sequence[CodeChunk]) -> tuple[list[int], np.ndarray]:
    """All codes and latents; checks that exactly the last chunk is marked as such."""
    assert [chunk.finished for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(chunk.latents.dtype == np.float32 and chunk.codes.dtype == np.int64 for chunk in chunks)
    return (
        np.concatenate([chunk.codes for chunk in chunks]).tolist(),
        np.concatenate([chunk.latents for chunk in chunks]),
    )


def same_latents(actual: np.ndarray, expected: np.ndarray | torch.Tensor, limit: float = 5e-5) -> None:
    """`limit` is meant for values up to 10: rounding errors grow with the values."""
    expected = np.asarray(expected)
    peak = float(np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(actual, expected, atol=limit * max(1.0, peak / 10), rtol=0)


def changed(params: Params, **values: Any) -> Params:
    return params.changed(values)


async def collect(engine: GptEngine, job: GptJob) -> list[CodeChunk]:
    return [reply.value async for reply in engine.stream(job)]


def metrics(engine: GptEngine) -> StageMetrics:
    return engine._engine.metrics()
