"""From the choices of a request to the stream of the first model that comes as far as its first audio."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TypeVar

from deployments.core.catalogue import ModelCard
from deployments.core.deadline import NEVER, Deadline, before, watched
from deployments.core.errors import Overloaded, SpeechError, Unavailable
from deployments.core.logs import RequestLogger
from deployments.core.pipeline import Pipeline, Plan
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd, StreamStart
from serve_app.request_limit import RequestLimit
from serve_app.routing.decision import Choice
from serve_app.routing.failures import as_answer
from serve_app.routing.health import HealthMonitor
from serve_app.routing.load import LoadMonitor
from serve_app.routing.policy import moves_on, stand_in
from serve_app.telemetry import RequestRecord, Telemetry

T = TypeVar("T")

LOOK_EVERY_S = 2.0  # whether a model from which nothing comes is still there, where another could answer
SHARE = 0.5  # of the time that is left, which a model may take that others could stand in for
BLAMED_SHARE = 0.2  # of the server's own time for a first audio: who had less is not to blame for missing it


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream whose first event is there. Leaving its context ends all work for the request."""

    start: StreamStart
    first: AudioChunk | StreamEnd
    rest: AsyncGenerator[AudioChunk | StreamEnd, None]
    stack: AsyncExitStack

    async def __aenter__(self) -> OpenStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stack.aclose()


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens streams. What one model does, or does not do, delays no request that goes to another."""

    pipelines: Mapping[str, Pipeline]
    limits: Mapping[str, RequestLimit]
    health: HealthMonitor
    loads: LoadMonitor
    telemetry: Telemetry
    first_audio_timeout_s: float

    async def open(
        self, choices: Sequence[Choice], request: SpeechRequest, record: RequestRecord
    ) -> OpenStream:
        """Of the first choice that comes as far as its first event. Raises SpeechError."""
        full: list[Overloaded] = []
        for place, choice in enumerate(choices):
            told = stand_in(choice, choices[0]) if place else choice
            others = place + 1 < len(choices)
            try:
                return await self._attempt(told, request, record, others=others)
            except SpeechError as failure:
                if isinstance(failure, Overloaded):
                    full.append(failure)
                if not others or request.deadline.passed or not moves_on(request, failure):
                    # Whoever is told to come back is told when the first of them has a place.
                    raise min(full, key=_retry_after_s) if failure in full else failure from None
                RequestLogger(request.request_id).warning("model %s cannot serve: %s", choice.model, failure)
                self.telemetry.fell_back(choice.model)
        raise AssertionError("there is always a model to try")

    async def _attempt(
        self, choice: Choice, request: SpeechRequest, record: RequestRecord, *, others: bool
    ) -> OpenStream:
        """One model's stream, up to its first event. `others`: some could answer in its place."""
        model, pipeline = choice.model, self.pipelines[choice.model]
        record.model = model
        request = replace(request, voice=spelled(request.voice, pipeline) or request.voice)
        deadline, began_s = request.deadline, time.monotonic()
        if others and deadline is not NEVER:
            deadline = Deadline.after(SHARE * deadline.left_s)
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(self.limits[model].place())
                self.count_in_flight()
                stack.enter_context(self.health.attempt(model))
                self._log(choice, request)
                plan = await self._wait(
                    model, pipeline.plan(request), deadline, f"model {model!r} was not ready to speak", others
                )
                audio = pipeline.stream(plan)
                stack.push_async_callback(audio.aclose)
                first = await self._wait(
                    model, anext(audio), deadline, f"model {model!r} made no audio", others
                )
                self.health.answered(model)
                if isinstance(first, AudioChunk):
                    self.loads.first_audio(model, time.monotonic() - began_s)
                    record.first_audio(choice.reason)
                return OpenStream(_start(pipeline.card, plan, choice), first, audio, stack.pop_all())
        except Exception as error:
            failure = as_answer(model, error, request.request_id)
            self.health.failed(
                model,
                failure,
                waited_s=time.monotonic() - began_s,
                allowed_s=BLAMED_SHARE * self.first_audio_timeout_s,
            )
            raise failure from error

    async def _wait(self, model: str, work: Awaitable[T], deadline: Deadline, what: str, others: bool) -> T:
        async def look() -> None:
            if not await self.health.answers(model):
                raise Unavailable(f"model {model!r} does not answer; try again", retry_after_s=2)

        return await before(deadline, watched(look, LOOK_EVERY_S, work) if others else work, what)

    def _log(self, choice: Choice, request: SpeechRequest) -> None:
        self.telemetry.decided(choice.model, choice.reason)
        load = self.loads.load(choice.model)
        expected = "at an unknown time" if load.first_audio_s is None else f"in {load.first_audio_s:.2f} s"
        RequestLogger(request.request_id).info(
            "model %s is asked (%s); its first audio is expected %s", choice.model, choice.reason, expected
        )

    def count_in_flight(self) -> None:
        self.telemetry.in_flight(sum(limit.held for limit in self.limits.values()))


def _retry_after_s(refusal: Overloaded) -> float:
    return refusal.retry_after_s or 0.0


def spelled(voice: str | None, pipeline: Pipeline) -> str | None:
    """The name that the model itself has for the voice that was asked for; None where it has none."""
    if voice is None:
        return None
    return next((name for card in pipeline.voices if (name := card.spelled(voice)) is not None), None)


def _start(card: ModelCard, plan: Plan, choice: Choice) -> StreamStart:
    return StreamStart(
        model=card.name,
        voice=plan.voice.id,
        sample_rate_hz=card.sample_rate_hz,
        reason=choice.reason,
        tempo=plan.tempo,
        voice_cache=plan.voice_cache,
        ignored=plan.ignored,
        warnings=(*choice.warnings(plan.voice.id), *plan.warnings),
    )
