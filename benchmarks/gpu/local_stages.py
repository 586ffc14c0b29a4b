"""The stages of IndexTTS2 in this process, called as the pipeline calls deployments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine, Generator
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from deployments.core.metrics import Reply, StageMonitor
from deployments.core.speech import Samples
from deployments.indextts2.gpt.engine import GptEngine
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.s2mel.engine import S2MelEngine
from deployments.indextts2.s2mel.job import Mel, S2MelJob
from deployments.indextts2.vocoder.engine import VocoderEngine
from deployments.indextts2.vocoder.job import VocodeJob

T = TypeVar("T")


class LocalResponse(Awaitable[T], Generic[T]):
    """A call that runs in a task of its own."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = asyncio.create_task(work)

    def __await__(self) -> Generator[Any, None, T]:
        return self._task.__await__()

    def cancel(self) -> None:
        self._task.cancel()


class LocalStream(Generic[T]):
    """A call whose items are made whether they are taken or not, as a replica does."""

    def __init__(self, source: AsyncGenerator[T, None]) -> None:
        self._items: asyncio.Queue[T | BaseException | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(source))

    async def _run(self, source: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(source) as items:
                async for item in items:
                    self._items.put_nowait(item)
        except Exception as error:
            self._items.put_nowait(error)
        else:
            self._items.put_nowait(None)

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        item = await self._items.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, BaseException):
            raise item
        return item

    def cancel(self) -> None:
        self._task.cancel()


class LocalStages:
    """Satisfies SegmentStages."""

    def __init__(self, gpt: GptEngine, s2mel: S2MelEngine, vocoder: VocoderEngine) -> None:
        self.monitor = StageMonitor()
        self._gpt = gpt
        self._s2mel = s2mel
        self._vocoder = vocoder

    def codes(self, job: GptJob) -> LocalStream[Reply[CodeChunk]]:
        return LocalStream(self._gpt.stream(job))

    def mel(self, job: S2MelJob) -> LocalResponse[Reply[Mel | None]]:
        return LocalResponse(self._s2mel.mel(job))

    def vocode(self, job: VocodeJob) -> LocalResponse[Reply[Samples]]:
        return LocalResponse(self._vocoder.vocode(job))

    def heard(self, stage: str, reply: Reply[T]) -> T:
        return self.monitor.heard(stage, reply)
