"""One segment of text through GPT, S2Mel and vocoder, all three at work at the same time."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import Unavailable
from deployments.core.metrics import Reply
from deployments.core.speech import Samples
from deployments.core.stages import Response, answer_again, cancel
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.s2mel.job import Mel, S2MelJob
from deployments.indextts2.stages import SegmentStages
from deployments.indextts2.stream.chunk_planner import Chunk, ChunkPlanner, Progress
from deployments.indextts2.stream.code_replies import code_replies
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.streaming.playback import Playback
from deployments.streaming.read_ahead import ReadAhead

MUTE_PAUSE_S = 0.5  # in place of a segment that the model has nothing to say for
REDRAWN = 1 << 20  # added to the stream number of a second draw: no request has so many segments


@dataclass(frozen=True, slots=True)
class Synthesis:
    """How the mel of a request is made. `key` names the request on every replica: no other one may ever have it."""

    key: str
    mel_bands: int
    chunked: bool  # else a segment is one chunk
    by_deadline: bool  # chunk sizes follow the clock; else the audio is the same at any load


@dataclass(frozen=True, slots=True)
class _Window:
    """Samples on their way from the vocoder."""

    job: VocodeJob
    submitted_s: float
    response: Response[Reply[Samples]]


class _Codes:
    """The codes of a segment that have arrived, with their latents."""

    def __init__(self) -> None:
        self.count = 0
        self.finished = False
        self._codes: list[npt.NDArray[np.int64]] = []
        self._latents: list[npt.NDArray[np.float32]] = []

    def add(self, chunk: CodeChunk) -> None:
        self.finished = chunk.finished
        if len(chunk.codes):
            self.count += len(chunk.codes)
            self._codes.append(chunk.codes)
            self._latents.append(chunk.latents)

    def between(self, first: int, end: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Codes first … end−1 and their latents, (n,) and (n, D)."""
        return np.concatenate(self._codes)[first:end], np.concatenate(self._latents)[first:end]


class SegmentStream:
    """Audio of one segment, which is worked on from now on: one task takes the codes as they come, one makes mel of
    them and hands it to the vocoder. `samples()` may be called once; afterwards the other attributes are final."""

    def __init__(
        self,
        index: int,
        job: GptJob,
        synthesis: Synthesis,
        planner: ChunkPlanner,
        stages: SegmentStages,
        playback: Playback,
    ) -> None:
        self.index = index
        self.limit_reached = False
        self.mute = False
        self.all_codes_there = False
        self.when_all_codes_are_there: Callable[[], None] = lambda: None
        self.stage_s = dict.fromkeys(("gpt", "s2mel", "voc"), 0.0)
        self._job = job
        self._synthesis = synthesis
        self._planner = planner
        self._geometry = planner.geometry
        self._speeds = planner.speeds
        self._stages = stages
        self._playback = playback
        self._audible_frames = 0  # whose mel is final with its halo, whether they have been sent or not
        self._submitted: list[_Window] = []
        self._windows = ReadAhead(self._vocoded())

    async def samples(self) -> AsyncGenerator[Samples, None]:
        """Pieces of audio, (hop * frames,) in all; none of a segment that is `mute`. Raises SpeechError, and what a
        stage raises."""
        try:
            while True:
                waiting = not self._windows.ready()
                window = await anext(self._windows, None)
                if window is None:
                    return
                yield await self._received(window, observe=waiting)
        finally:
            await self.aclose()

    def cancel(self) -> None:
        """Stop the work without waiting for the end of it."""
        self._windows.cancel()
        for window in self._submitted:
            cancel(window.response)

    async def aclose(self) -> None:
        self.cancel()
        await self._windows.aclose()

    async def _received(self, window: _Window, *, observe: bool) -> Samples:
        job = window.job
        reply = await answer_again(window.response, lambda: self._stages.vocode(job))
        samples = self._stages.heard("vocoder", reply)
        self._submitted.remove(window)
        elapsed_s = time.monotonic() - window.submitted_s
        self.stage_s["voc"] += elapsed_s
        if len(samples) != (job.end - job.start) * self._geometry.hop:
            raise Unavailable(f"the vocoder made {len(samples)} samples of {job.end - job.start} frames")
        if observe:  # else the result may have been lying there for a while
            self._speeds.observe_vocoder(job.mel.shape[1], elapsed_s)
        return samples

    async def _vocoded(self) -> AsyncGenerator[_Window, None]:
        """Windows handed to the vocoder, in order: exactly what one pass over the whole segment would give."""
        halo, start = self._geometry.halo_frames, 0
        with self._speeds.segment():
            async for mel, complete in self._mels():
                frames = mel.shape[1]
                end = frames if complete else frames - halo
                if end > start:
                    yield self._vocode(mel, start, end)
                    start = end

    def _vocode(self, mel: Mel, start: int, end: int) -> _Window:
        halo = self._geometry.halo_frames
        first, last = max(0, start - halo), min(mel.shape[1], end + halo)
        job = VocodeJob(
            request_id=self._job.request_id,
            mel=np.ascontiguousarray(mel[:, first:last]),
            start=start - first,
            end=end - first,
            slack_s=self._slack_s(),
            deadline=self._deadline,
            refusable=False,
        )
        window = _Window(job, time.monotonic(), self._stages.vocode(job))
        self._submitted.append(window)
        return window

    async def _mels(self) -> AsyncGenerator[tuple[Mel, bool], None]:
        """The final mel (80, F), growing, from the start of the segment on; the last one is complete."""
        source = ReadAhead(self._code_chunks())
        codes = _Codes()
        made: Mel = np.zeros((self._synthesis.mel_bands, 0), np.float32)  # frames of the look-ahead included
        committed = chunks = size = sent = 0
        try:
            while True:
                chunk = await self._gather(source, codes, chunks, committed, size)
                if codes.count == 0:
                    self.mute = True
                    self._playback.expect(self.index, MUTE_PAUSE_S)
                    return
                count = min(chunk.needs, codes.count)
                if count > sent:
                    made = await self._extend(made, committed, codes, sent, count, chunk, chunks)
                    sent = count
                # Else the segment ended with the last look-ahead: its frames are already those of the end.
                frames = self._geometry.frames(chunk.commit)
                self._audible_frames = frames if chunk.final else self._geometry.audible_frames(chunk.commit)
                yield made[:, :frames], chunk.final
                if chunk.final:
                    return
                chunks, size, committed = chunks + 1, chunk.commit - committed, chunk.commit
        finally:
            await source.aclose()

    async def _gather(
        self, source: ReadAhead[CodeChunk], codes: _Codes, chunks: int, committed: int, size: int
    ) -> Chunk:
        """Wait until the next chunk has its codes."""
        chunked = self._synthesis.chunked
        while True:
            while not codes.finished and (source.ready() or not chunked):
                codes.add(await anext(source))
            slack_s = self._slack_s() if self._synthesis.by_deadline else None
            now = Progress(self.index, chunks, committed, size, codes.count, codes.finished, slack_s)
            whole = Chunk(codes.count, codes.count, final=True, open_end=False)
            chunk = self._planner.plan(now) if chunked else whole
            if codes.finished or codes.count >= chunk.needs:
                return chunk
            codes.add(await anext(source))

    def _slack_s(self) -> float:
        on_the_way_s = self._geometry.seconds(self._audible_frames) - self._playback.sent_s(self.index)
        return self._playback.slack_s(self.index) + on_the_way_s

    @property
    def _deadline(self) -> Deadline:
        """Of the request's first audio: once there is some, everything else is wanted however long it takes."""
        return NEVER if self._playback.audio_s > 0 else self._job.deadline

    async def _extend(
        self, made: Mel, committed: int, codes: _Codes, sent: int, count: int, chunk: Chunk, chunks: int
    ) -> Mel:
        """Mel of the first `count` codes, of which the part that is committed stays as it is.

        `sent` codes were sent before, so a replica that was there needs only the new ones.
        """
        begin, total = self._geometry.frames(committed), self._geometry.frames(count)
        new_codes, new_latents = codes.between(sent, count)
        job = S2MelJob(
            request_id=self._job.request_id,
            segment=f"{self._synthesis.key}-{self.index}",
            voice=self._job.voice,
            first_code=sent,
            codes=new_codes,
            latents=new_latents,
            committed_frames=begin,
            committed=None,
            seed=self._job.seed,
            stream=self._job.stream,
            params=self._job.params,
            steps=self._steps(chunks),
            duration_factor=self._geometry.duration_factor,
            open_end=chunk.open_end,
            last=chunk.final,
            slack_s=self._slack_s(),
            deadline=self._deadline,
            refusable=False,
        )
        began_s, segments = time.monotonic(), self._speeds.segments
        new = await self._mel(job)
        if new is None:
            all_codes, all_latents = codes.between(0, count)
            job = replace(job, first_code=0, codes=all_codes, latents=all_latents, committed=made[:, :begin])
            new = await self._mel(job)
        elapsed_s = time.monotonic() - began_s
        self.stage_s["s2mel"] += elapsed_s
        if new is None or new.shape[1] != total - begin:
            made_frames = 0 if new is None else new.shape[1]
            raise Unavailable(f"S2Mel made {made_frames} frames where {total - begin} were asked for")
        self._speeds.observe_s2mel(
            self._planner.prompt_frames + total,
            job.euler_steps * job.params.network_rows,
            elapsed_s,
            (segments + self._speeds.segments) / 2,
        )
        return np.concatenate((made[:, :begin], new), axis=1)

    async def _mel(self, job: S2MelJob) -> Mel | None:
        """None where the replica wants the job complete, as one does that takes over from another."""
        reply = await answer_again(self._stages.mel(job), lambda: self._stages.mel(job))
        return self._stages.heard("s2mel", reply)

    def _steps(self, chunks: int) -> int | None:
        """Of the request's very first chunk there may be fewer; None: as many as the parameters say."""
        first = self._planner.parameters.first_steps
        if self.index == chunks == 0 and self._synthesis.chunked and first is not None:
            return min(self._job.params.diffusion_steps, first)
        return None

    async def _code_chunks(self) -> AsyncGenerator[CodeChunk, None]:
        """Of the first draw that says anything: a model that draws codes may stop at once, by chance. The second draw
        is as fixed by the seed as the first."""
        again = replace(self._job, stream=self._job.stream + REDRAWN)
        count = 0
        for job in (self._job, again):
            self._job = job
            async with aclosing(self._drawn(job)) as chunks:
                async for chunk in chunks:
                    count += len(chunk.codes)
                    if chunk.finished and count == 0 and job is not again:
                        break
                    self.limit_reached = self.limit_reached or chunk.limit_reached
                    if chunk.finished:
                        self.all_codes_there = True
                        self.when_all_codes_are_there()
                    yield chunk
                    if chunk.finished:
                        return

    async def _drawn(self, drawn: GptJob) -> AsyncGenerator[CodeChunk, None]:
        job = replace(drawn, slack_s=self._playback.slack_s(self.index))
        spent_s = self.stage_s["gpt"]
        began_s = last_s = time.monotonic()
        replies = code_replies(self._stages, job)
        try:
            first = True
            async for reply in replies:
                chunk = self._stages.heard("gpt", reply)
                now_s = time.monotonic()
                self.stage_s["gpt"] = spent_s + now_s - began_s
                if not first:  # the first one includes the prefix, and waiting for a slot
                    self._speeds.observe_codes(len(chunk.codes), now_s - last_s)
                first, last_s = False, now_s
                yield chunk
                if chunk.finished:
                    return
            raise Unavailable("the GPT stage ended a segment without finishing it")
        finally:
            await replies.aclose()
