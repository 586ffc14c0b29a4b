"""Jobs for the golden checkpoints, and what the plain loop makes of them."""

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
    languages: tuple[int | None, ...] = (None,)

    @staticmethod
    def load(front: Path, *, stop_bias: float = 0.0) -> Golden:
        """`stop_bias` is added to the logit of the stop code: a large one ends, or never ends, every decoding."""
        model = _model(front / "ckpt", stop_bias)
        recorded = load_file(front / "gpt_prefix_logits.safetensors")
        emotion = recorded["emovec"][0]
        latents = recorded["conds_34"][0, : model.dims.condition_num_latent] - emotion
        texts = _texts(model, recorded["text1.ids"].flatten().tolist())
        return Golden(model, latents.numpy(), emotion.numpy(), texts)

    @staticmethod
    def load_25(golden_25: Path, *, stop_bias: float = 0.0) -> Golden:
        """Likewise, of a model without latents and with languages."""
        model = _model(golden_25 / "checkpoint", stop_bias)
        recorded = load_file(golden_25 / "conditioning.safetensors")
        latents, emotion = recorded["spk_emb_proj"], recorded["merged_alpha_1.0"][0]
        ids = load_file(golden_25 / "prefix.safetensors")["in.text_ids"].flatten().tolist()
        last = model.dims.traits.language_rows - 1
        return Golden(model, latents.numpy(), emotion.numpy(), _texts(model, ids), (1, 0, last))

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
            language_id=self.languages[number % len(self.languages)],
        )
        return replace(job, **changes)

    async def alone(self, job: GptJob) -> tuple[DecodedCodes, torch.Tensor]:
        """Codes and latents (M,D) of the plain loop and one latent pass; latents (M,0) of a model without."""
        latents = torch.tensor((await job.voice.profile)["speaker_latents"])
        prefix = self.model.prefix(latents, torch.tensor(job.emotion), job.text_ids, job.language_id)
        decoded = generate(self.model, prefix, job.params, seed=job.seed, stream=job.stream)
        if not self.model.dims.traits.speaks_latents:
            return decoded, torch.zeros(len(decoded.codes), 0)
        return decoded, latents_of(self.model, prefix, decoded.codes)


def _model(checkpoint: Path, stop_bias: float) -> SpeechGpt:
    model = load_model(IndexTTSCheckpoint(checkpoint), device="cpu", dtype=torch.float32)
    bias = model.mel_head.bias.detach().clone()
    bias[model.dims.stop_mel_token] += stop_bias
    model.mel_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    return model


def _texts(model: SpeechGpt, recorded: list[int]) -> tuple[tuple[int, ...], ...]:
    """Of several lengths, of what a recorded text has."""
    marks = (model.dims.start_text_token, model.dims.stop_text_token)
    ids = [i for i in recorded if i not in marks]
    longest = model.dims.max_text_tokens
    return (
        tuple(ids[:longest]),
        tuple(ids[: len(ids) // 2 + 1]),
        tuple((ids * 9)[:longest]),
        tuple(ids[:2]),
    )


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
