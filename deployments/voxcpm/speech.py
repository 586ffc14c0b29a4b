"""All segments of a request, one after the other: their patches as audio, and pauses in between.

A segment begins when all patches of the one before are made, which is long before they have been heard: patches are
made faster than they last, or the request would not have been let in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Executor
from contextlib import aclosing

from deployments.core.errors import InvalidRequest, Unavailable
from deployments.core.speech import AudioChunk, Samples, StreamEnd
from deployments.core.stages import items
from deployments.streaming.joins import silence
from deployments.streaming.playback import Playback
from deployments.streaming.read_ahead import ReadAhead
from deployments.voxcpm.plan import VoxCPMPlan
from deployments.voxcpm.segment_jobs import SegmentJobs
from deployments.voxcpm.stages import PatchStage
from deployments.voxcpm.step.job import Patches
from deployments.voxcpm.text.frontend import SpokenSegment

TEXT_AHEAD = 1  # segments of text that are read before they are wanted


class SegmentedSpeech:
    """One request. `texts` is read in `executor`, a segment at a time. `events` may be called once."""

    def __init__(
        self,
        plan: VoxCPMPlan,
        texts: Iterator[SpokenSegment],
        executor: Executor,
        jobs: SegmentJobs,
        stages: PatchStage,
        playback: Playback,
        sample_rate_hz: int,
    ) -> None:
        self._plan = plan
        self._texts = texts
        self._executor = executor
        self._jobs = jobs
        self._stages = stages
        self._playback = playback
        self._sample_rate_hz = sample_rate_hz
        self._spoken = 0  # segments
        self._warnings: dict[str, None] = dict.fromkeys(plan.warnings)
        self._engine_s = 0.0

    async def events(self) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        """Audio in order, then the end. When it is closed, nothing of the request is running any more."""
        texts = ReadAhead(self._read(), TEXT_AHEAD)
        silent_s, asked = 0.0, False  # what is owed before the next segment
        try:
            async for text in texts:
                self._warnings.update(dict.fromkeys(text.warnings))
                if not self._spoken:
                    silent_s += text.lead_s
                if text.tokens:
                    async for samples in self._segment(text):
                        if silent_s > 0:  # not earlier: what comes first tells that the model speaks
                            yield self._counted(silence(silent_s, self._sample_rate_hz))
                            silent_s = 0.0
                        yield self._counted(samples)
                    self._spoken += 1
                    silent_s = self._plan.pause_s
                asked = text.pause_after_s is not None
                if text.pause_after_s is not None:
                    silent_s = text.pause_after_s + (0.0 if text.tokens else silent_s)
            if not self._spoken:
                raise _nothing_to_speak()
            if asked and silent_s > 0:
                yield self._counted(silence(silent_s, self._sample_rate_hz), last=True)
        finally:
            await texts.aclose()
        yield StreamEnd(self._playback.audio_s, self._spent_s(), tuple(self._warnings))

    async def _read(self) -> AsyncGenerator[SpokenSegment, None]:
        loop = asyncio.get_running_loop()
        while (text := await loop.run_in_executor(self._executor, next, self._texts, None)) is not None:
            yield text

    async def _segment(self, text: SpokenSegment) -> AsyncGenerator[Samples, None]:
        """Raises SpeechError, and what the engine raises."""
        job = self._jobs.next(text, self._playback.slack_s(self._spoken))
        began_s, before_s = time.monotonic(), self._engine_s
        patches: list[Patches] = []
        async with aclosing(items(self._stages.patches(job))) as replies:
            async for reply in replies:
                chunk = self._stages.heard("engine", reply)
                self._engine_s = before_s + time.monotonic() - began_s
                if chunk.patches is not None:
                    patches.append(chunk.patches)
                yield chunk.samples
                if chunk.ended is not None:
                    break
            else:
                raise Unavailable("the engine ended a segment without finishing it")
        if chunk.ended == "limit":
            self._warnings[
                f"segment {self._spoken + 1} was still going on at the limit of what its text can take and was cut "
                "off; its end may be missing or not be speech"
            ] = None
        else:
            self._jobs.spoke(text, patches)

    def _counted(self, samples: Samples, *, last: bool = False) -> AudioChunk:
        segment = self._spoken - 1 if last else self._spoken
        first = self._playback.audio_s == 0
        self._playback.sent(segment, len(samples) / self._sample_rate_hz)
        return AudioChunk(samples, segment, self._spent_s() if first else {})

    def _spent_s(self) -> dict[str, float]:
        return {"encoder": self._plan.encoder_s, "engine": self._engine_s}


def _nothing_to_speak() -> InvalidRequest:
    return InvalidRequest(
        "There is nothing in the input that the model can say; send at least one word or number.",
        param="input",
        code="input_not_speakable",
    )
