"""The two deployments of one model: how they are bound, and how its pipeline calls them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from deployments.core.metrics import Reply, StageMonitor
from deployments.core.ray_internals import by_value, own_context
from deployments.core.stages import Response, Stage, Stream, answer, answer_again
from deployments.voices.encoder_version import EncoderVersion
from deployments.voices.profile import EncodedProfile
from deployments.voxcpm.settings import VoxCPMSettings
from deployments.voxcpm.step.job import PatchChunk, VoxCPMJob
from deployments.voxcpm.voice.job import VoiceJob

STAGES = ("encoder", "engine")
T = TypeVar("T")


def bind_stages(name: str, settings: VoxCPMSettings) -> dict[str, Application]:
    """Named `<name>-encoder`, `<name>-engine`; `deployments` of the YAML sets replicas and GPU shares."""

    def stage(place: str, own: Any, num_cpus: float) -> Stage:
        arguments = {"checkpoint": settings.checkpoint, "device": settings.device, "settings": own}
        return Stage(f"deployments.voxcpm.{place}", arguments, num_cpus)

    stages = {
        "encoder": stage("voice.deployment.VoxCPMEncoder", settings.encoder, 0.2),
        "engine": stage("step.deployment.Engine", settings.engine, 0.5),
    }
    return {key: stage.bind(f"{name}-{key}") for key, stage in stages.items()}


class PatchStage(Protocol):
    """The calls that one request makes while it speaks. Replies of `patches` go through `heard`."""

    def patches(self, job: VoxCPMJob) -> Stream[Reply[PatchChunk]]: ...

    def heard(self, stage: str, reply: Reply[T]) -> T: ...


class VoxCPMStages:
    """Used from one event loop. Jobs of the engine go by value: with 30 s of prompt and reference they have 0.4 MB."""

    def __init__(self, handles: Mapping[str, DeploymentHandle[Any]], monitor: StageMonitor) -> None:
        self._handles = handles
        self._monitor = monitor
        self._engine = by_value(handles["engine"], stream=True)
        self._version = EncoderVersion(self._fetch_version)

    def patches(self, job: VoxCPMJob) -> Stream[Reply[PatchChunk]]:
        return cast(Stream[Reply[PatchChunk]], self._engine.stream.remote(job))

    def heard(self, stage: str, reply: Reply[T]) -> T:
        return self._monitor.heard(stage, reply)

    async def encode(self, job: VoiceJob) -> EncodedProfile:
        """Runs outside of the request: others may wait for the profile when the one who asked first has left."""
        encoded: EncodedProfile = await self._encoder("encode", job)
        self._version.learn(encoded.model_version)
        return encoded

    async def model_version(self) -> str:
        """Version of the profiles that the encoder makes now, or made some seconds ago."""
        return await self._version.current()

    async def ready(self) -> bool:
        """Whether both answer. The first time it also fetches what hardly ever changes."""
        answers = await asyncio.gather(*(answer(self._handles[stage].ready.remote()) for stage in STAGES))
        await self.model_version()
        return all(answers)

    async def _fetch_version(self) -> str:
        version: str = await self._encoder("model_version")
        return version

    async def _encoder(self, method: str, *arguments: object) -> Any:
        """A call whose result may be shared by several requests, so it belongs to none of them."""
        remote: Callable[..., Response[Reply[Any]]] = getattr(self._handles["encoder"], method).remote

        def call() -> Response[Reply[Any]]:
            return own_context(remote, *arguments)

        return self.heard("encoder", await answer_again(call(), call))
