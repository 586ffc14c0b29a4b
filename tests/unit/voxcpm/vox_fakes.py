"""VoxCPMStages of VoxCPM without networks: samples say which segment and patch they are of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from deployments.core.metrics import Reply, StageMetrics
from deployments.voices.profile import EncodedProfile, VoiceProfile
from deployments.voxcpm.step.job import PatchChunk, VoxCPMJob
from deployments.voxcpm.voice.job import PROMPT_PATCHES, REFERENCE_PATCHES, VoiceJob

PATCH_SAMPLES = 6
SHAPE = (4, 8)  # of a patch
PATCHES = 5  # of a segment

T = TypeVar("T")


def reply(value: T) -> Reply[T]:
    return Reply(value, StageMetrics("fake", rows=8))


@dataclass
class FakeVoxCPM:
    """Handles to an encoder and an engine. `pause(place)` is awaited, `trouble(n)` called, before the n-th patch."""

    version_2: bool = True
    limited: frozenset[int] = frozenset()  # segments that run to their limit
    pause: Callable[[str], Awaitable[None]] = field(default=lambda place: asyncio.sleep(0))
    trouble: Callable[[int], None] = field(default=lambda patch: None)
    jobs: list[VoxCPMJob] = field(default_factory=list)
    encoded: list[str] = field(default_factory=list)
    open: int = 0
    patches: int = 0

    def handles(self) -> dict[str, Any]:
        async def ready() -> bool:
            return True

        async def version() -> Reply[str]:
            return reply("v1")

        answers = {"ready": ready, "model_version": version, "encode": self._encode}
        encoder = {name: self._answering(method) for name, method in answers.items()}
        return {
            "encoder": FakeHandle(encoder),
            "engine": FakeHandle({"ready": self._answering(ready), "stream": self._stream}),
        }

    def _answering(self, method: Callable[..., Any]) -> Callable[..., FakeResponse]:
        return lambda *arguments: FakeResponse(self, method(*arguments))

    async def _encode(self, job: VoiceJob) -> Reply[EncodedProfile]:
        await self.pause("encoder")
        self.encoded.append(job.recording.sha256)
        arrays = {PROMPT_PATCHES: np.full((3, *SHAPE), 7, np.float32)}
        if self.version_2:
            arrays[REFERENCE_PATCHES] = np.full((3, *SHAPE), 8, np.float32)
        return reply(EncodedProfile(VoiceProfile(arrays), "v1"))

    def _stream(self, job: VoxCPMJob) -> FakeStream:
        self.jobs.append(job)
        return FakeStream(self, self._speak(job))

    async def _speak(self, job: VoxCPMJob) -> AsyncIterator[Reply[PatchChunk]]:
        for patch in range(PATCHES):
            await self.pause("engine")
            self.patches += 1
            self.trouble(self.patches)
            made = np.full((1, *SHAPE), 10 * job.stream + patch, np.float32) if job.emit_patches else None
            end = "limit" if job.stream in self.limited else "stop"
            samples = np.full(PATCH_SAMPLES, job.stream + patch / 100, np.float32)
            yield reply(PatchChunk(samples, made, end if patch == PATCHES - 1 else None))  # type: ignore[arg-type]


def expected(segment: int) -> np.ndarray:
    return np.repeat(segment + np.arange(PATCHES, dtype=np.float32) / 100, PATCH_SAMPLES).astype(np.float32)


class FakeHandle:
    def __init__(self, methods: dict[str, Callable[..., Any]]) -> None:
        self._methods = methods

    def options(self, **_: Any) -> FakeHandle:
        return self

    def __getattr__(self, name: str) -> Any:
        return type("Method", (), {"remote": staticmethod(self._methods[name])})()


class FakeResponse:
    """Runs in a task like a replica: whoever stops waiting without `cancel` leaves it open."""

    def __init__(self, fake: FakeVoxCPM, work: Any) -> None:
        self._fake = fake
        fake.open += 1
        self._task = asyncio.ensure_future(work)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._fake.open -= 1
        if not task.cancelled():
            task.exception()

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.shield(self._task).__await__()

    def cancel(self) -> None:
        self._task.cancel()


class FakeStream:
    """A replica that pushes items whether they are taken or not."""

    def __init__(self, fake: FakeVoxCPM, source: AsyncIterator[Any]) -> None:
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self._response = FakeResponse(fake, self._run(source))

    async def _run(self, source: AsyncIterator[Any]) -> None:
        try:
            async for item in source:
                self._items.put_nowait(item)
        except Exception as error:
            self._items.put_nowait(error)
            return
        self._items.put_nowait(None)

    def __aiter__(self) -> FakeStream:
        return self

    async def __anext__(self) -> Any:
        item = await self._items.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, Exception):
            raise item
        return item

    def cancel(self) -> None:
        self._response.cancel()
