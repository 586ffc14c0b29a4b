"""The four deployments of one model: how they are bound, and how its pipeline calls them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from deployments.core.metrics import Reply, StageMonitor
from deployments.core.ray_internals import own_context
from deployments.core.speech import Samples
from deployments.core.stages import Response, Stage, Stream, answer, answer_again
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.s2mel.job import Mel, S2MelJob
from deployments.indextts2.settings import IndexTTSSettings
from deployments.indextts2.speaker.emotion import EmotionMatrix, Vector
from deployments.indextts2.speaker.job import EmotionAudioJob, EmotionTextJob, EncodeJob
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.traits import Traits
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.voices.encoder_version import EncoderVersion
from deployments.voices.profile import EncodedProfile

STAGES = ("speaker", "gpt", "s2mel", "vocoder")
T = TypeVar("T")


def bind_stages(name: str, settings: IndexTTSSettings) -> dict[str, Application]:
    """Named `<name>-speaker`, `-gpt`, `-s2mel`, `-vocoder`; `deployments` of the YAML sets replicas and GPU shares."""

    def stage(place: str, own: Any, num_cpus: float) -> Stage:
        arguments = {"checkpoint": settings.checkpoint, "device": settings.device, "settings": own}
        return Stage(f"deployments.indextts2.{place}", arguments, num_cpus)

    stages = {
        "speaker": stage("speaker.deployment.Speaker", settings.speaker, 0.2),
        "gpt": stage("gpt.deployment.Gpt", settings.gpt, 0.5),
        "s2mel": stage("s2mel.deployment.S2Mel", settings.s2mel, 0.5),
        "vocoder": stage("vocoder.deployment.Vocoder", settings.vocoder, 0.2),
    }
    return {key: stage.bind(f"{name}-{key}") for key, stage in stages.items()}


class SegmentStages(Protocol):
    """The calls that one segment makes. Replies of `codes`, `mel` and `vocode` go through `heard`."""

    def codes(self, job: GptJob) -> Stream[Reply[CodeChunk]]: ...

    def mel(self, job: S2MelJob) -> Response[Reply[Mel | None]]: ...

    def vocode(self, job: VocodeJob) -> Response[Reply[Samples]]: ...

    def heard(self, stage: str, reply: Reply[T]) -> T: ...


class Stages:
    """All calls go by reference: voices inside jobs are object references, which gRPC messages would keep alive for
    ever, and a long segment's mel and samples may exceed its 4 MB. Used from one event loop."""

    def __init__(
        self,
        handles: Mapping[str, DeploymentHandle[Any]],
        monitor: StageMonitor,
        traits: Traits,
    ) -> None:
        self._handles = handles
        self._monitor = monitor
        self._traits = traits
        self._codes = handles["gpt"].options(stream=True)
        self._geometry: Geometry | None = None
        self._matrix: EmotionMatrix | None = None
        self._version = EncoderVersion(self._fetch_version)

    def codes(self, job: GptJob) -> Stream[Reply[CodeChunk]]:
        return cast(Stream[Reply[CodeChunk]], self._codes.stream.remote(job))

    def mel(self, job: S2MelJob) -> Response[Reply[Mel | None]]:
        response: Response[Reply[Mel | None]] = self._handles["s2mel"].mel.remote(job)
        return response

    def vocode(self, job: VocodeJob) -> Response[Reply[Samples]]:
        response: Response[Reply[Samples]] = self._handles["vocoder"].vocode.remote(job)
        return response

    def heard(self, stage: str, reply: Reply[T]) -> T:
        return self._monitor.heard(stage, reply)

    async def encode(self, job: EncodeJob) -> EncodedProfile:
        """Runs outside of the request: others may wait for the profile when the one who asked first has left."""
        encoded: EncodedProfile = await self._speaker("encode", job)
        self._version.learn(encoded.model_version)
        return encoded

    async def emotion_vector(self, job: EmotionAudioJob) -> Vector:
        vector: Vector = await self._speaker("emotion_vector", job)
        return vector

    async def emotion_scores(self, job: EmotionTextJob) -> list[float]:
        scores: list[float] = await self._speaker("emotion_scores", job)
        return scores

    async def emotion_matrix(self) -> EmotionMatrix:
        if self._matrix is None:
            self._matrix = await self._speaker("emotion_matrix")
        return self._matrix

    async def model_version(self) -> str:
        """Version of the profiles that the encoder makes now, or made some seconds ago."""
        return await self._version.current()

    async def _fetch_version(self) -> str:
        version: str = await self._speaker("model_version")
        return version

    async def geometry(self) -> Geometry:
        if self._geometry is None:
            reply: Reply[tuple[int, int, int]] = await answer(self._handles["vocoder"].halo.remote())
            self._geometry = Geometry(
                *self.heard("vocoder", reply), self._traits.frames_per_code, self._traits.edge_codes
            )
        return self._geometry

    async def ready(self) -> bool:
        """Whether all four answer. The first time it also fetches what hardly ever changes."""
        answers = await asyncio.gather(*(answer(self._handles[stage].ready.remote()) for stage in STAGES))
        await self.geometry()
        await self.model_version()
        return all(answers)

    async def _speaker(self, method: str, *arguments: object) -> Any:
        """A call whose result may be shared by several requests, so it belongs to none of them."""
        remote: Callable[..., Response[Reply[Any]]] = getattr(self._handles["speaker"], method).remote

        def call() -> Response[Reply[Any]]:
            return own_context(remote, *arguments)

        return self.heard("speaker", await answer_again(call(), call))
