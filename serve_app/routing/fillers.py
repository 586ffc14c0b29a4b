"""Short interjections with which an answer may begin while its model still works: in the voice that will speak, made
before they are needed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache
from pydantic import Field, field_validator

from deployments.core.deadline import Deadline, before
from deployments.core.errors import SpeechError
from deployments.core.logs import logger
from deployments.core.pipeline import Pipeline, Plan
from deployments.core.ray_internals import own_context
from deployments.core.settings import Settings
from deployments.core.speech import AudioChunk, Samples, SpeechRequest
from deployments.streaming.joins import fade, silence, trim
from deployments.text.language_names import language_code
from serve_app.routing.decision import Load

KEPT = 512  # of about 50 kB each
MOST_WAITING = 64  # to be made; beyond that the next request with the voice asks again
MAKE_TIMEOUT_S = 60.0
LEAD_S, TAIL_S = 0.0, 0.05  # silence kept around the words
PAUSE_S = 0.15  # after a filler, as after a comma
LONGEST_S = 2.0  # what is longer is no interjection: the model went on speaking


class FillerSettings(Settings):
    """`routing.fillers` of the configuration."""

    words: dict[str, tuple[str, ...]] = Field(
        default={"en": ("Well,", "So,"), "zh": ("嗯，", "好的，")},
        description="by language, what an answer may begin with",
    )
    budget_ms: float = Field(
        500.0,
        gt=0,
        allow_inf_nan=False,
        description="no filler where the first audio is expected within that; a request's latency_budget_ms goes first",
    )

    @field_validator("words")
    @classmethod
    def _spoken(cls, words: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for language, listed in words.items():
            if language_code(language) != language:
                raise ValueError(f"{language!r} is no code of a language; write one such as en or zh")
            if not listed or not all(word.strip() for word in listed):
                raise ValueError(f"{language}: a language needs at least one word, and none may be empty")
        return words


@dataclass(frozen=True, slots=True)
class Filler:
    """`samples` begin and end in silence, at the rate of the model that made them."""

    samples: Samples
    duration_s: float  # of the words; a pause follows them


@dataclass(frozen=True, slots=True)
class _Place:
    model: str
    voice: str
    language: str
    word: str


class Fillers:
    """Made one at a time, by the model that will speak, so that nobody hears a second speaker; kept in memory. Used
    from one event loop."""

    def __init__(
        self,
        settings: FillerSettings,
        pipelines: Mapping[str, Pipeline],
        load: Callable[[str], Load],
    ) -> None:
        self._settings = settings
        self._pipelines = pipelines
        self._load = load
        self._made: LRUCache[_Place, Filler] = LRUCache(KEPT)
        self._wanted: dict[_Place, None] = {}
        self._making: asyncio.Task[None] | None = None

    def for_plan(self, model: str, plan: Plan, language: str) -> Filler | None:
        """What the answer to `plan` begins with; None where that is not wanted, not needed, or not made yet, which is
        then begun.

        A request with a seed sounds the same at any load, and one with another speed or a whole answer gains nothing.
        """
        request = plan.request
        if request.seed is not None or request.speed != 1.0 or not request.stream:
            return None
        words = self._settings.words.get(language)
        expected_s = self._load(model).first_audio_s
        budget_ms = request.latency_budget_ms or self._settings.budget_ms
        if words is None or expected_s is None or expected_s * 1000 <= budget_ms or request.reference_audio:
            return None
        drawn = int(hashlib.sha256(request.request_id.encode()).hexdigest(), 16)
        found = self._made.get(_Place(model, plan.voice.id, language, words[drawn % len(words)]))
        if found is None:
            self.prepare(model, plan.voice.id, language)
        return found

    def prepare(self, model: str, voice: str, language: str | None = None) -> None:
        """Have all words of a language, or of those that the model speaks, made soon for `voice`."""
        spoken = self._pipelines[model].card.languages if language is None else (language,)
        for code in spoken:
            for word in self._settings.words.get(code, ()):
                place = _Place(model, voice, code, word)
                if place not in self._made and len(self._wanted) < MOST_WAITING:
                    self._wanted[place] = None
        if self._wanted and (self._making is None or self._making.done()):
            # Not as a part of the request that found one missing, with whose end Serve would cancel the calls.
            self._making = own_context(asyncio.create_task, self._make_all())

    def forget(self, voice: str) -> None:
        """The voice was deleted."""
        for place in [place for place in (*self._made, *self._wanted) if place.voice == voice]:
            self._made.pop(place, None)
            self._wanted.pop(place, None)

    async def _make_all(self) -> None:
        while self._wanted:
            place = next(iter(self._wanted))
            try:
                made = await self._make(place)
            except SpeechError as error:
                logger.warning(
                    "no filler %r of voice %s (%s): %s", place.word, place.voice, place.model, error
                )
            except Exception:  # a filler is never worth a failure
                logger.exception("no filler %r of voice %s (%s)", place.word, place.voice, place.model)
            else:
                if place in self._wanted and made is not None:
                    self._made[place] = made
            self._wanted.pop(place, None)

    async def _make(self, place: _Place) -> Filler | None:
        deadline = Deadline.after(MAKE_TIMEOUT_S)
        made = before(deadline, self._spoken(place, deadline), f"the filler {place.word!r} was not made")
        return joined(await made, self._pipelines[place.model].card.sample_rate_hz)

    async def _spoken(self, place: _Place, deadline: Deadline) -> list[Samples]:
        pipeline = self._pipelines[place.model]
        request = SpeechRequest(
            f"filler-{place.voice}",
            place.word,
            model=place.model,
            voice=place.voice,
            language=place.language,
            deadline=deadline,
        )
        async with aclosing(pipeline.stream(await pipeline.plan(request))) as events:
            return [event.samples async for event in events if isinstance(event, AudioChunk)]


def joined(chunks: list[Samples], sample_rate_hz: int) -> Filler | None:
    """A filler of what a model made; None where that cannot be one."""
    spoken = np.concatenate(chunks) if chunks else silence(0.0, sample_rate_hz)
    words = trim(spoken, sample_rate_hz, keep_lead_s=LEAD_S, keep_tail_s=TAIL_S)
    duration_s = len(words) / sample_rate_hz
    if not np.any(words) or duration_s > LONGEST_S:
        return None
    return Filler(np.concatenate([words, silence(PAUSE_S, sample_rate_hz)]), duration_s)


def faded_in(chunk: AudioChunk, sample_rate_hz: int) -> AudioChunk:
    """The first samples after a filler's silence rise from zero; the end of the chunk goes on into the next one."""
    head = fade(chunk.samples, sample_rate_hz)
    half = len(head) // 2
    return AudioChunk(np.concatenate([head[:half], chunk.samples[half:]]), chunk.segment)
