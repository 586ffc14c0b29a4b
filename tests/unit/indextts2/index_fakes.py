"""Stages of IndexTTS2 without networks: mel says which frame it is, samples say which mel they were made from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from deployments.core.metrics import Reply, StageMetrics
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.speaker.emotion import EmotionMatrix
from deployments.indextts2.speaker.job import EmotionAudioJob, EmotionTextJob, EncodeJob
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.voices.profile import EncodedProfile, VoiceProfile

HOP = 4
BANDS = 3
DIM = 5
LOOKAHEAD_MARK = 0.25  # frames that see a later code differ from those that do not
GEOMETRY = Geometry(halo_frames=6, hop=HOP, sample_rate_hz=1000, frames_per_code=Fraction(43, 25))

Trouble = Callable[[str, int], None]
T = TypeVar("T")


def reply(value: T) -> Reply[T]:
    return Reply(value, StageMetrics("fake", rows=8))


@dataclass
class FakeStages:
    """`counts[stream]` codes per segment. `pause(place)` is awaited, and `trouble(place, n)` called, at the n-th visit.

    A frame's mel is [segment, frame, steps], a sample is `1000 segment + frame + position in the frame / hop`; the
    vocoder refuses windows that lack a halo they should have. S2Mel keeps what it knows of a segment, as long as it is
    not told to be `forgetful`.
    """

    counts: dict[int, int]
    emit: int = 3
    pause: Callable[[str], Awaitable[None]] = field(default=lambda place: asyncio.sleep(0))
    trouble: Trouble = field(default=lambda place, number: None)
    open: int = 0
    places: list[str] = field(default_factory=list)
    mel_jobs: list[S2MelJob] = field(default_factory=list)
    gpt_jobs: list[GptJob] = field(default_factory=list)
    limit_reached: bool = False
    forgetful: bool = False
    heard_of: list[str] = field(default_factory=list)
    kept: dict[str, np.ndarray] = field(default_factory=dict)

    def codes(self, job: GptJob) -> FakeStream:
        self.gpt_jobs.append(job)
        return FakeStream(self, self._codes(job))

    async def _codes(self, job: GptJob) -> AsyncIterator[Reply[CodeChunk]]:
        total = self.counts[job.stream]
        step = self.emit if job.emit_codes else max(1, total)
        for start in range(0, max(1, total), step):
            await self._visit("gpt")
            codes = np.arange(start, min(total, start + step))
            yield reply(CodeChunk(codes, np.full((len(codes), DIM), job.stream, np.float32), False))
        await self._visit("gpt-end")
        nothing = np.zeros(0, np.int64)
        yield reply(CodeChunk(nothing, np.zeros((0, DIM), np.float32), True, self.limit_reached))

    def mel(self, job: S2MelJob) -> FakeResponse:
        self.mel_jobs.append(job)
        return FakeResponse(self, self._mel(job))

    async def _mel(self, job: S2MelJob) -> Reply[np.ndarray | None]:
        await self._visit("s2mel")
        known = self.kept.pop(job.segment, None)
        if not job.complete and (known is None or self.forgetful):
            return reply(None)
        assert job.codes.tolist() == list(range(job.first_code, job.code_count)), "codes lost or out of order"
        assert job.latents.shape == (len(job.codes), DIM)
        begin = job.committed_frames
        committed = job.committed if job.committed is not None else known
        assert begin == 0 or np.array_equal(committed[1, :begin], np.arange(begin)), (
            "the committed mel is not the segment's beginning"
        )
        frames = np.arange(GEOMETRY.frames(job.code_count), dtype=np.float32)
        mel = np.stack([np.full_like(frames, job.stream), frames, np.full_like(frames, job.euler_steps)])
        if not job.last:
            self.kept[job.segment] = mel
        return reply(mel[:, begin:])

    def vocode(self, job: VocodeJob) -> FakeResponse:
        return FakeResponse(self, self._vocode(job))

    async def _vocode(self, job: VocodeJob) -> Reply[np.ndarray]:
        await self._visit("vocoder")
        segment, frames = int(job.mel[0, 0]), job.mel[1]
        assert np.array_equal(np.diff(frames), np.ones(len(frames) - 1)), "a window with a gap"
        last = GEOMETRY.frames(self.counts[segment]) - 1
        halo = GEOMETRY.halo_frames
        assert job.start >= halo or frames[0] == 0, "halo missing on the left"
        assert job.mel.shape[1] - job.end >= halo or frames[-1] == last, "halo missing on the right"
        spoken = 1000 * segment + frames[job.start : job.end]
        return reply((spoken[:, None] + np.arange(HOP) / HOP).reshape(-1).astype(np.float32))

    def heard(self, stage: str, reply: Reply[T]) -> T:
        self.heard_of.append(stage)
        return reply.value

    async def _visit(self, place: str) -> None:
        self.places.append(place)
        number = self.places.count(place)
        await self.pause(place)
        self.trouble(place, number)

    def expected(self, segment: int) -> np.ndarray:
        frames = 1000 * segment + np.arange(GEOMETRY.frames(self.counts[segment]))
        return (frames[:, None] + np.arange(HOP) / HOP).reshape(-1).astype(np.float32)


async def turns(count: int = 4) -> None:
    """Let the event loop deliver cancellations: far fewer turns than `dawdle` takes."""
    for _ in range(count):
        await asyncio.sleep(0)


async def dawdle(place: str) -> None:
    """Work that nobody cancels is still open when it is looked for."""
    await turns(30)


class FakeResponse:
    """Runs in a task like a replica: whoever stops waiting without `cancel` leaves it open."""

    def __init__(self, stages: FakeStages, work: Any) -> None:
        self._stages = stages
        stages.open += 1
        self._task = asyncio.ensure_future(work)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._stages.open -= 1
        if not task.cancelled():
            task.exception()

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.shield(self._task).__await__()

    def cancel(self) -> None:
        self._task.cancel()


class FakeStream:
    """A replica that pushes items whether they are taken or not."""

    def __init__(self, stages: FakeStages, source: AsyncIterator[Any]) -> None:
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self._response = FakeResponse(stages, self._run(source))

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


class SharedProfile:
    """Stands for an object reference."""

    def __init__(self, profile: VoiceProfile) -> None:
        self.profile = profile

    def __await__(self) -> Generator[Any, None, VoiceProfile]:
        yield from ()
        return self.profile


class FakeHandle:
    """A handle to one deployment of `FakeGraph`."""

    def __init__(self, methods: dict[str, Callable[..., Any]]) -> None:
        self._methods = methods

    def options(self, **_: Any) -> FakeHandle:
        return self

    def __getattr__(self, name: str) -> Any:
        return type("Method", (), {"remote": staticmethod(self._methods[name])})()


class FakeGraph:
    """Four handles over `FakeStages`, and a speaker encoder that counts what it is asked."""

    def __init__(self, stages: FakeStages, dim: int = DIM) -> None:
        self.stages = stages
        self.dim = dim
        self.encoded: list[str] = []
        self.asked: list[str] = []
        self.version = "v1"
        self.encode_pause: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)
        self.scores: Callable[[str], list[float]] = lambda text: [0.5, 0, 0, 0, 0, 0, 0, 0.25]

    def handles(self) -> dict[str, Any]:
        ready = self._plain(lambda: True)
        return {
            "speaker": FakeHandle(
                {
                    "encode": self._answering(self._encode),
                    "emotion_vector": self._answering(self._emotion_vector),
                    "emotion_scores": self._answering(self._emotion_scores),
                    "emotion_matrix": self._answering(self.matrix),
                    "model_version": self._answering(lambda: self.version),
                    "ready": ready,
                }
            ),
            "gpt": FakeHandle({"stream": self.stages.codes, "ready": ready}),
            "s2mel": FakeHandle({"mel": self.stages.mel, "ready": ready}),
            "vocoder": FakeHandle(
                {
                    "vocode": self.stages.vocode,
                    "halo": self._answering(lambda: (GEOMETRY.halo_frames, HOP, GEOMETRY.sample_rate_hz)),
                    "ready": ready,
                }
            ),
        }

    def _answering(self, compute: Callable[..., Any]) -> Callable[..., FakeResponse]:
        return self._plain(compute, reply)

    def _plain(
        self, compute: Callable[..., Any], wrap: Callable[[Any], Any] = lambda value: value
    ) -> Callable[..., FakeResponse]:
        async def run(*arguments: Any) -> Any:
            await (self.encode_pause() if compute == self._encode else asyncio.sleep(0))
            return wrap(compute(*arguments))

        return lambda *arguments: FakeResponse(self.stages, run(*arguments))

    def _encode(self, job: EncodeJob) -> EncodedProfile:
        self.encoded.append(job.recording.sha256)
        profile = VoiceProfile(
            {
                "speaker_latents": np.zeros((2, self.dim), np.float32),
                "speaker_emotion": np.zeros(self.dim, np.float32),
                "reference_emotion": np.ones(self.dim, np.float32),
                "style": np.ones(192, np.float32),
                "codes": np.arange(4),
                "mel": np.zeros((BANDS, 10), np.float32),
            }
        )
        return EncodedProfile(profile, self.version)

    def _emotion_vector(self, job: EmotionAudioJob) -> np.ndarray:
        self.asked.append("audio")
        return np.full(self.dim, 3.0, np.float32)

    def _emotion_scores(self, job: EmotionTextJob) -> list[float]:
        self.asked.append(job.text)
        return self.scores(job.text)

    def matrix(self) -> EmotionMatrix:
        rows = np.arange(16, dtype=np.float32)[:, None]
        keys = np.ones((16, 192), np.float32) * (1 + rows % 2)
        return EmotionMatrix(keys, rows * np.ones(self.dim, np.float32), (2,) * 8)
