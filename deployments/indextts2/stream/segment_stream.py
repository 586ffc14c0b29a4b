"""One segment of text through GPT, S2Mel and vocoder, all three at work at the same time."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

import numpy as np

from deployments.core.calls import answer, items
from deployments.core.errors import Unavailable
from deployments.core.speech import Samples
from deployments.indextts2.gpt.job import CodeChunk, GptJob
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.stages import Mel, SegmentStages
from deployments.indextts2.stream.chunk_planner import Chunk, ChunkPlanner, Progress
from deployments.indextts2.stream.codes import Codes
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.streaming.playback import Playback
from deployments.streaming.read_ahead import ReadAhead


@dataclass(frozen=True, slots=True)
class Synthesis:
    """How the mel of a request is made."""

    steps: int
    guidance: float
    chunked: bool  # else a segment is one chunk
    mel_bands: int
    by_deadline: bool  # chunk sizes follow the clock; else the audio is the same at any load

    @property
    def rows(self) -> int:
        """Rows that S2Mel computes per step: guidance needs a second one."""
        return 2 if self.guidance > 0 else 1


@dataclass(frozen=True, slots=True)
class _Committed:
    mel: Mel  # (80, F): final from the start of the segment on
    complete: bool


class SegmentStream:
    """Audio of one segment. `samples()` may be called once; afterwards the other attributes are final."""

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
        self.stage_s = dict.fromkeys(("gpt", "s2mel", "voc"), 0.0)
        self._job = job
        self._synthesis = synthesis
        self._planner = planner
        self._geometry = planner.geometry
        self._speeds = planner.speeds
        self._stages = stages
        self._playback = playback
        self._audible_frames = 0  # whose mel is final with its halo, whether they have been sent or not

    async def samples(self) -> AsyncGenerator[Samples, None]:
        """Pieces of audio, (hop * frames,) in all. Raises SpeechError, and what a stage raises."""
        with self._speeds.segment():
            mels = ReadAhead(self._mels())
            start = 0
            try:
                async for committed in mels:
                    frames = committed.mel.shape[1]
                    end = frames if committed.complete else frames - self._geometry.halo_frames
                    if end > start:
                        yield await self._vocode(committed.mel, start, end)
                        start = end
            finally:
                await mels.aclose()

    async def _mels(self) -> AsyncGenerator[_Committed, None]:
        """The final mel, growing; the last one is complete."""
        source = ReadAhead(self._codes())
        codes = Codes()
        made: Mel = np.zeros(
            (self._synthesis.mel_bands, 0), np.float32
        )  # the frames of the look-ahead included
        committed = chunks = size = jobs_codes = 0
        try:
            while True:
                chunk = await self._gather(source, codes, chunks, committed, size)
                if codes.count == 0:
                    raise self._silent()
                count = min(chunk.needs, codes.count)
                if count > jobs_codes:
                    made = await self._extend(made, committed, codes, count, chunk.open_end, chunks)
                    jobs_codes = count
                # Else the segment ended with the last look-ahead: its frames are already those of the end.
                frames = self._geometry.frames(chunk.commit)
                self._audible_frames = frames if chunk.final else self._geometry.audible_frames(chunk.commit)
                yield _Committed(made[:, :frames], chunk.final)
                if chunk.final:
                    return
                chunks, size, committed = chunks + 1, chunk.commit - committed, chunk.commit
        finally:
            await source.aclose()

    async def _gather(
        self, source: ReadAhead[CodeChunk], codes: Codes, chunks: int, committed: int, size: int
    ) -> Chunk:
        """Wait until the next chunk has its codes."""
        while True:
            while not codes.finished and (source.ready() or not self._synthesis.chunked):
                codes.add(await anext(source))
            now = Progress(
                self.index, chunks, committed, size, codes.count, codes.finished, self._deadline_s()
            )
            chunk = (
                self._planner.plan(now)
                if self._synthesis.chunked
                else Chunk(codes.count, codes.count, final=True, open_end=False)
            )
            if codes.finished or codes.count >= chunk.needs:
                return chunk
            codes.add(await anext(source))

    def _deadline_s(self) -> float | None:
        return self._slack_s() if self._synthesis.by_deadline else None

    def _slack_s(self) -> float:
        on_the_way_s = self._geometry.seconds(self._audible_frames) - self._playback.sent_s(self.index)
        return self._playback.slack_s(self.index) + on_the_way_s

    async def _extend(
        self, made: Mel, committed: int, codes: Codes, count: int, open_end: bool, chunks: int
    ) -> Mel:
        """Mel of the first `count` codes, of which the part that is committed stays as it is."""
        begin = self._geometry.frames(committed)
        total = self._geometry.frames(count)
        steps = self._synthesis.steps
        if self.index == chunks == 0 and self._synthesis.chunked:
            steps = min(steps, self._planner.parameters.first_steps or steps)
        known = made[:, :begin]
        job = S2MelJob(
            voice=self._job.voice,
            codes=codes.codes(count),
            latents=codes.latents(count),
            committed=known,
            seed=self._job.seed,
            stream=self._job.stream,
            steps=steps,
            guidance=self._synthesis.guidance,
            open_end=open_end,
            slack_s=self._slack_s(),
        )
        began, segments = time.monotonic(), self._speeds.segments
        new = await answer(self._stages.mel(job))
        elapsed_s = time.monotonic() - began
        self.stage_s["s2mel"] += elapsed_s
        if new.shape[1] != total - begin:
            raise Unavailable(f"S2Mel made {new.shape[1]} frames where {total - begin} were asked for")
        self._speeds.observe_s2mel(
            self._planner.prompt_frames + total,
            steps * self._synthesis.rows,
            elapsed_s,
            (segments + self._speeds.segments) / 2,
        )
        return np.concatenate((known, new), axis=1)

    async def _vocode(self, mel: Mel, start: int, end: int) -> Samples:
        """Samples of frames [start, end), exactly as one pass over the whole segment would give them."""
        halo = self._geometry.halo_frames
        first, last = max(0, start - halo), min(mel.shape[1], end + halo)
        job = VocodeJob(np.ascontiguousarray(mel[:, first:last]), start - first, end - first)
        began = time.monotonic()
        samples = await answer(self._stages.vocode(job))
        elapsed_s = time.monotonic() - began
        self.stage_s["voc"] += elapsed_s
        if len(samples) != (end - start) * self._geometry.hop:
            raise Unavailable(f"the vocoder made {len(samples)} samples of {end - start} frames")
        self._speeds.observe_vocoder(last - first, elapsed_s)
        return samples

    async def _codes(self) -> AsyncGenerator[CodeChunk, None]:
        job = replace(self._job, slack_s=self._playback.slack_s(self.index))
        began = last = time.monotonic()
        chunks = items(self._stages.codes(job))
        try:
            first = True
            async for chunk in chunks:
                now = time.monotonic()
                self.stage_s["gpt"] = now - began
                if not first:  # the first one includes the prefix, and waiting for a slot
                    self._speeds.observe_codes(len(chunk.codes), now - last)
                first, last = False, now
                self.limit_reached = self.limit_reached or chunk.limit_reached
                yield chunk
                if chunk.finished:
                    return
            raise Unavailable("the GPT stage ended a segment without finishing it")
        finally:
            await chunks.aclose()

    def _silent(self) -> Unavailable:
        return Unavailable(
            f"the model had nothing to say for segment {self.index + 1} of the text; word it differently, "
            "or try another seed",
            code="segment_not_spoken",
        )
