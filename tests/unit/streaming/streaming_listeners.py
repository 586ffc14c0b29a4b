"""Listeners of the real pipeline in virtual time, with all that a test may ask about it afterwards."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.piece_simulator import SimulatedStage, StageCosts
from benchmarks.virtual_time import in_virtual_time
from deployments.core.errors import SpeechError
from deployments.core.metrics import Reply
from deployments.core.speech import AudioChunk, SpeechRequest
from deployments.kokoro.job import SAMPLE_RATE_HZ, KokoroJob, Spoken
from deployments.kokoro.pipeline import Pipeline
from deployments.kokoro.settings import KokoroSettings
from deployments.streaming.scheduler import Scheduler


@dataclass(frozen=True)
class Ask:
    at_s: float
    text: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class Listened:
    """What became of one request; times count from its arrival."""

    chunks: list[tuple[float, float]] = field(default_factory=list)  # when it came, and its length
    pieces: list[str] = field(default_factory=list)
    error: SpeechError | None = None
    ended_s: float | None = None

    @property
    def first_sound_s(self) -> float:
        return self.chunks[0][0]

    @property
    def longest_gap_s(self) -> float:
        """That somebody hears who plays from the first sample on."""
        dry_s, longest_s = self.first_sound_s, 0.0
        for at_s, audio_s in self.chunks:
            longest_s = max(longest_s, at_s - dry_s)
            dry_s = max(dry_s, at_s) + audio_s
        return longest_s


class WatchedScheduler(Scheduler):
    """Counts how often somebody who is heard is left waiting though nothing is made."""

    idle = 0

    def _hand_out(self) -> None:
        super()._hand_out()
        waiting = [each for each in self._streams if each.turn is not None and not each.turn.done()]
        working = any(each.working_until_s is not None for each in self._streams)
        self.idle += bool(waiting) and not working


class WatchedStage(SimulatedStage):
    def __init__(self, costs: StageCosts) -> None:
        super().__init__(costs)
        self.pieces: dict[str, list[str]] = defaultdict(list)

    async def _speak(self, job: KokoroJob) -> Reply[Spoken]:
        self.pieces[job.request_id].append(job.text)
        return await super()._speak(job)


def listen(costs: StageCosts, asks: Sequence[Ask], **settings: Any) -> tuple[list[Listened], int]:
    """What each of them heard, and how often a stage had nothing to do while somebody waited for it."""

    async def run() -> tuple[list[Listened], int]:
        stage = WatchedStage(costs)
        handle: Any = stage
        pipeline = Pipeline("simulated", KokoroSettings(**settings), {"kokoro": handle})
        watched = WatchedScheduler(lambda: pipeline._pace, lambda: pipeline._places)
        pipeline._scheduler = watched

        async def one(number: int, ask: Ask) -> Listened:
            await asyncio.sleep(ask.at_s)
            heard = Listened()
            try:
                plan = await pipeline.plan(SpeechRequest(str(number), ask.text, **ask.fields))
                async for event in pipeline.stream(plan):
                    if isinstance(event, AudioChunk):
                        at_s = time.monotonic() - ask.at_s
                        heard.chunks.append((at_s, len(event.samples) / SAMPLE_RATE_HZ))
            except SpeechError as error:
                heard.error = error
            heard.ended_s = time.monotonic() - ask.at_s
            return replace(heard, pieces=stage.pieces[str(number)])

        found = await asyncio.gather(*(one(number, ask) for number, ask in enumerate(asks)))
        return list(found), watched.idle

    return in_virtual_time(run)


def alone(costs: StageCosts, text: str, **fields: Any) -> Listened:
    return listen(costs, [Ask(0.0, text, fields)])[0][0]
