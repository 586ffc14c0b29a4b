"""What the stages of a running graph say of themselves, with replies to calls that cost next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import ray

from benchmarks.streaming.graph import Graph
from deployments.core.metrics import Reply, StageMetrics
from deployments.core.stages import Response, Stream, answer, items
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.sampling import Params
from deployments.voices.profile import VoiceProfile
from deployments.voices.sharing import SharedVoice

ONE_CODE = Params(num_beams=1, temperature=0.0, max_codes=1)
SOME_CODES = Params(num_beams=1, temperature=0.0, max_codes=10)


def random_voice(graph: Graph) -> SharedVoice:
    """What the GPT takes from a voice."""
    dims = IndexTTSCheckpoint(graph.checkpoint).gpt_dims
    latents = np.random.default_rng(0).normal(size=(dims.condition_num_latent, dims.model_dim))
    return SharedVoice("random", ray.put(VoiceProfile({"speaker_latents": latents.astype(np.float32)})))


class Probes:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._width = IndexTTSCheckpoint(graph.checkpoint).gpt_dims.model_dim
        self._voice = random_voice(graph)

    async def metrics(self) -> dict[str, StageMetrics]:
        """By stage; of one replica each, without what the probes themselves took."""
        return {
            "gpt": await self._gpt(ONE_CODE),
            "s2mel": await self._called("s2mel", lambda stage: stage.mel.remote(self._unknown_segment())),
            "vocoder": await self._called("vocoder", lambda stage: stage.halo.remote()),
            "speaker": await self._called("speaker", lambda stage: stage.model_version.remote()),
        }

    async def lost_slots(self) -> int:
        """Slots of the GPT that no job can have any more: how many fail of so many jobs as it should have room for."""
        rows = (await self._gpt(ONE_CODE)).rows
        ends = await asyncio.gather(*(self._gpt(SOME_CODES) for _ in range(rows)), return_exceptions=True)
        return sum(isinstance(end, BaseException) for end in ends)

    async def _gpt(self, params: Params) -> StageMetrics:
        """With the last reply to a job, whose row is free by then."""
        emotion = np.zeros(self._width, np.float32)
        job = GptJob("probe", self._voice, emotion, text_ids=(3, 4, 5), params=params, seed=0)
        handle = self._graph.stage("gpt").options(stream=True)
        replies = [r async for r in items(cast(Stream[Reply[CodeChunk]], handle.stream.remote(job)))]
        return replies[-1].metrics

    async def _called(self, stage: str, call: Callable[[Any], Response[Reply[Any]]]) -> StageMetrics:
        return (await answer(call(self._graph.stage(stage)))).metrics

    def _unknown_segment(self) -> S2MelJob:
        """A job that goes on with a segment of which no replica knows: it is sent back at once."""
        return S2MelJob(
            request_id="probe",
            segment="probe",
            voice=self._voice,
            first_code=1,
            codes=np.zeros(1, np.int64),
            latents=np.zeros((1, self._width), np.float32),
            committed_frames=0,
            committed=None,
            seed=0,
            stream=0,
            params=Params(),
        )
