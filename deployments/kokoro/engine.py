"""Kokoro's engine: segments of all requests wait in one queue, the one whose playback deadline is nearest runs next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deployments.core.errors import InvalidRequest, Overloaded
from deployments.core.speech import Samples
from deployments.kokoro.network import SAMPLE_RATE_HZ, KokoroNetwork
from deployments.kokoro.phonemes import Phonemizer, split_phonemes
from deployments.kokoro.voices import KokoroVoice, find_voices

WARM_UP = {"en": "Ready when you are.", "zh": "你好。"}


@dataclass(frozen=True, slots=True)
class KokoroJob:
    """One segment of a request. `slack_s`: time until a listener needs its first sample; smaller runs earlier."""

    text: str
    voice: str
    speed: float = 1.0
    slack_s: float = 0.0


class KokoroEngine:
    """Runs one segment at a time on all threads of the session; waiting segments can be cancelled."""

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, directory: Path, *, threads: int, max_waiting: int) -> None:
        self.voices: dict[str, KokoroVoice] = find_voices(directory / "voices")
        self._network = KokoroNetwork(directory, threads)
        self._phonemizer = Phonemizer()
        self._max_waiting = max_waiting
        self._waiting: list[tuple[float, int, KokoroJob, asyncio.Future[Samples]]] = []
        self._order = itertools.count()
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work; call once, on the loop that will call `synthesise`."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    def warm_up(self, languages: list[str]) -> None:
        """Load dictionaries and let the session allocate, so that the first request pays for neither."""
        for voice in self.voices.values():
            if voice.language in languages and voice.name == self._first_of(voice.language):
                self.speak(KokoroJob(WARM_UP.get(voice.language, "1, 2, 3."), voice.name))

    def _first_of(self, language: str) -> str:
        return next(v.name for v in self.voices.values() if v.language == language)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def synthesise(self, job: KokoroJob) -> Samples:
        """Samples (n,) at 24 kHz of one segment. Raises Overloaded at once when the queue is full."""
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded("kokoro: too many segments are waiting; try again shortly", retry_after_s=1)
        future: asyncio.Future[Samples] = asyncio.get_running_loop().create_future()
        entry = (time.monotonic() + job.slack_s, next(self._order), job, future)
        heapq.heappush(self._waiting, entry)
        self._arrived.set()
        try:
            return await future
        finally:
            if future.cancelled() and entry in self._waiting:
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            _, _, job, future = heapq.heappop(self._waiting)
            if future.cancelled():
                continue
            try:
                samples = await asyncio.to_thread(self.speak, job)
            except Exception as error:  # the error belongs to this job; the queue goes on
                if not future.cancelled():
                    future.set_exception(error)
            else:
                if not future.cancelled():
                    future.set_result(samples)

    def check_health(self) -> None:
        """Raise if the worker has ended, which it never does by itself."""
        if self._worker is None or self._worker.done():
            raise RuntimeError("kokoro: the worker is not running")

    def speak(self, job: KokoroJob) -> Samples:
        """The same as `synthesise`, in this thread and without a queue."""
        voice = self.voices[job.voice]
        phonemes = self._phonemizer.phonemes(job.text, voice.accent)
        pieces = [ids for piece in split_phonemes(phonemes) if (ids := self._network.ids(piece))]
        if not pieces:
            raise InvalidRequest(
                f"nothing in {job.text[:60]!r} can be spoken by voice {job.voice!r} (language {voice.language!r})",
                param="input",
                code="unspeakable_input",
            )
        return np.concatenate(
            [self._network.synthesise(ids, voice.style(len(ids)), job.speed) for ids in pieces]
        )
