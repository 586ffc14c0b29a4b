"""The stages of IndexTTS2 in this process, called as the pipeline calls deployments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Generator
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from deployments.core.speech import Samples
from deployments.indextts2.gpt.engine import GptEngine
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.s2mel.engine import S2MelEngine
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.s2mel.mel_model import Mel
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.service import VocoderService

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

    def __init__(self, source: Any) -> None:
        self._items: asyncio.Queue[T | BaseException | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(source))

    async def _run(self, source: Any) -> None:
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


class VocoderBatches:
    """What Serve's batching does for the vocoder: jobs gather while a batch runs."""

    def __init__(self, service: VocoderService, max_batch: int = 8) -> None:
        self._service = service
        self._max_batch = max_batch
        self._waiting: list[tuple[VocodeJob, asyncio.Future[Samples]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def vocode(self, job: VocodeJob) -> Samples:
        self._service.check(job)
        answer: asyncio.Future[Samples] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            results = await asyncio.to_thread(self._service.vocode, [job for job, _ in batch])
            for (_, answer), result in zip(batch, results, strict=True):
                if answer.cancelled():
                    continue
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)


class LocalStages:
    """Satisfies SegmentStages."""

    def __init__(self, gpt: GptEngine, s2mel: S2MelEngine, vocoder: VocoderService) -> None:
        self._gpt = gpt
        self._s2mel = s2mel
        self._vocoder = VocoderBatches(vocoder)

    def codes(self, job: GptJob) -> LocalStream[CodeChunk]:
        return LocalStream(self._gpt.stream(job))

    def mel(self, job: S2MelJob) -> LocalResponse[Mel]:
        return LocalResponse(self._s2mel.mel(job))

    def vocode(self, job: VocodeJob) -> LocalResponse[Samples]:
        return LocalResponse(self._vocoder.vocode(job))
