"""The four deployments as a pipeline calls them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
from ray.serve.handle import DeploymentHandle

from deployments.core.calls import Response, Stream, answer
from deployments.core.speech import Samples
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.speaker.emotion import EmotionMatrix
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio

STAGES = ("speaker", "gpt", "s2mel", "vocoder")

Mel = npt.NDArray[np.float32]
"""Log-mel, (bands, frames)."""
Vector = npt.NDArray[np.float32]
T = TypeVar("T")


class SegmentStages(Protocol):
    """The calls that one segment makes."""

    def codes(self, job: GptJob) -> Stream[CodeChunk]: ...

    def mel(self, job: S2MelJob) -> Response[Mel]: ...

    def vocode(self, job: VocodeJob) -> Response[Samples]: ...


class Stages:
    """All calls go by reference: tickets inside jobs hold object references, which gRPC messages would keep alive for
    ever, and a long segment's mel and samples may exceed its 4 MB."""

    def __init__(self, handles: Mapping[str, DeploymentHandle]) -> None:
        self._handles = handles
        self._speaker = handles["speaker"]
        self._gpt = handles["gpt"].options(stream=True)
        self._s2mel = handles["s2mel"]
        self._vocoder = handles["vocoder"]
        self._kept: dict[str, Any] = {}

    def codes(self, job: GptJob) -> Stream[CodeChunk]:
        return cast(Stream[CodeChunk], self._gpt.stream.remote(job))

    def mel(self, job: S2MelJob) -> Response[Mel]:
        return self._s2mel.mel.remote(job)

    def vocode(self, job: VocodeJob) -> Response[Samples]:
        return self._vocoder.vocode.remote(job)

    async def encode(self, audio: ReferenceAudio) -> VoiceProfile:
        """Runs outside of the request: others may wait for the profile when the one who asked first has left, and
        Serve cancels the calls of a request with it."""
        response: Response[VoiceProfile] = contextvars.Context().run(self._speaker.encode.remote, audio)
        return await answer(response)

    async def encode_emotion(self, audio: ReferenceAudio) -> Vector:
        response: Response[Vector] = self._speaker.encode_emotion.remote(audio)
        return await answer(response)

    async def emotion_scores(self, text: str) -> list[float]:
        response: Response[list[float]] = self._speaker.emotion_scores.remote(text)
        return await answer(response)

    async def emotion_matrix(self) -> EmotionMatrix:
        return await self._once("matrix", self._speaker.emotion_matrix.remote)

    async def model_version(self) -> str:
        return await self._once("version", self._speaker.model_version.remote)

    async def geometry(self) -> Geometry:
        halo_frames, hop, sample_rate_hz = await self._once("halo", self._vocoder.halo.remote)
        return Geometry(halo_frames, hop, sample_rate_hz)

    async def ready(self) -> bool:
        """Whether all four answer. The first time it also fetches what never changes."""
        answers = await asyncio.gather(*(answer(self._handles[stage].ready.remote()) for stage in STAGES))
        await self.geometry()
        await self.model_version()
        return all(answers)

    async def _once(self, name: str, call: Callable[[], Any]) -> Any:
        if name not in self._kept:
            self._kept[name] = await answer(call())
        return self._kept[name]
