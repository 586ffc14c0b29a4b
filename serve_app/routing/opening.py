"""From the choices of a request to the stream of the first model that comes as far as its first audio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TypeVar

from deployments.core import stage_watch
from deployments.core.deadline import NEVER, Deadline, before, watched
from deployments.core.errors import Overloaded, ReplicaDied, SpeechError, StageLost, Unavailable
from deployments.core.logs import RequestLogger
from deployments.core.pipeline import Pipeline, Plan
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd, StreamStart
from deployments.text.language import detect_language
from serve_app.request_limit import RequestLimit
from serve_app.routing.decision import Choice, Decision
from serve_app.routing.failures import as_answer
from serve_app.routing.fallback import moves_on, stand_in
from serve_app.routing.fillers import Filler, Fillers, faded_in
from serve_app.routing.health import HealthMonitor
from serve_app.routing.load import LoadMonitor
from serve_app.routing.names import no_such_voice
from serve_app.routing.sleep import Sleepers
from serve_app.telemetry import RequestRecord, Telemetry

T = TypeVar("T")

LOOK_EVERY_S = 2.0  # whether a model from which nothing comes is still there, where another could answer
SHARE = 0.5  # of the time that is left, which a model may take that others could stand in for
RETURN_S = 10.0  # so long a request waits for a lost stage where no other model could answer
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
    sleepers: Sleepers
    fillers: Fillers | None = None

    async def open(self, decision: Decision, request: SpeechRequest, record: RequestRecord) -> OpenStream:
        """Of the first choice that comes as far as its first event. Raises SpeechError."""
        full: list[Overloaded] = []
        choices = decision.choices
        if decision.wake is not None:  # whoever answers now: those who come later want it
            self.sleepers.wake(decision.wake)
        expected_s = {each.model: each.load.first_audio_s for each in decision.candidates}
        for place, choice in enumerate(choices):
            told = stand_in(choice, choices[0]) if place else choice
            others = place + 1 < len(choices)
            self._tell(told, request, expected_s[choice.model])
            try:
                return await self._opened(told, request, record, others=others)
            except SpeechError as failure:
                if isinstance(failure, Overloaded):
                    full.append(failure)
                if not others or request.deadline.passed or not moves_on(request, failure):
                    # Whoever is told to come back is told when the first of them has a place.
                    raise min(full, key=_retry_after_s) if failure in full else failure from None
                RequestLogger(request.request_id).warning("model %s cannot serve: %s", choice.model, failure)
                self.telemetry.fell_back(choice.model)
        raise AssertionError("there is always a model to try")

    async def _opened(
        self, choice: Choice, request: SpeechRequest, record: RequestRecord, *, others: bool
    ) -> OpenStream:
        """One model's stream. Nothing has left yet: another replica of the model may do again what one died of."""
        try:
            return await self._attempt(choice, request, record, others=others)
        except (ReplicaDied, StageLost) as failure:
            if not await self._may_try_again(choice.model, failure, request.deadline, others=others):
                raise
            RequestLogger(request.request_id).warning("model %s is asked again: %s", choice.model, failure)
        return await self._attempt(choice, request, record, others=others)

    async def _may_try_again(
        self, model: str, failure: SpeechError, deadline: Deadline, *, others: bool
    ) -> bool:
        """A request that no stage has begun waits for the next replica where no other model could answer; one of which
        a replica may have died is not given to the next one that is started."""
        replicas = self.health.replicas
        if isinstance(failure, ReplicaDied) or others:
            await asyncio.sleep(stage_watch.LOOK_EVERY_S)  # in which the death is noticed
            return replicas.runs(model) and isinstance(failure, ReplicaDied) and not deadline.passed
        return await replicas.until_back(model, min(RETURN_S, max(0.0, deadline.left_s)))

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
        self.sleepers.wake(model)
        with self.judged(model, request.request_id):
            self.sleepers.refuse_hopeless(model, deadline.left_s)
            async with AsyncExitStack() as stack:
                stack.enter_context(self.limits[model].place())
                self.count_in_flight()
                stack.enter_context(self.health.attempt(model))
                plan = await self._wait(
                    model, pipeline.plan(request), deadline, f"model {model!r} was not ready to speak", others
                )
                if not request.may_use_voice_of(plan.voice.owner):
                    raise no_such_voice(request.voice)
                audio = pipeline.stream(plan)
                stack.push_async_callback(audio.aclose)
                filler = self._filler(model, plan)
                if filler is not None:
                    rest = self._behind(filler, model, audio, request, began_s)
                    stack.push_async_callback(rest.aclose)
                    record.first_audio(choice.reason, {})
                    start = self._start(plan, choice, filler)
                    return OpenStream(start, AudioChunk(filler.samples, 0), rest, stack.pop_all())
                first = await self._wait(
                    model, anext(audio), deadline, f"model {model!r} made no audio", others
                )
                self.health.answered(model)
                stage_s: Mapping[str, float] = {}
                if isinstance(first, AudioChunk):
                    self.loads.first_audio(model, time.monotonic() - began_s)
                    stage_s = first.stage_s
                    record.first_audio(choice.reason, stage_s)
                start = replace(self._start(plan, choice), stage_s=stage_s)
                return OpenStream(start, first, audio, stack.pop_all())

    @contextmanager
    def judged(self, model: str, request_id: str) -> Generator[None, None, None]:
        """Work of one model for one request: what it raises is told as a SpeechError, and counts against the model."""
        began_s = time.monotonic()
        try:
            yield
        except Exception as error:
            failure = as_answer(model, error, request_id)
            waited_s, allowed_s = time.monotonic() - began_s, BLAMED_SHARE * self.first_audio_timeout_s
            self.health.failed(model, failure, waited_s=waited_s, allowed_s=allowed_s)
            raise failure from error

    def _filler(self, model: str, plan: Plan) -> Filler | None:
        if self.fillers is None or not plan.request.filler:
            return None
        language = plan.request.language or detect_language(plan.request.text)
        return self.fillers.for_plan(model, plan, language)

    async def _behind(
        self,
        filler: Filler,
        model: str,
        audio: AsyncGenerator[AudioChunk | StreamEnd, None],
        request: SpeechRequest,
        began_s: float,
    ) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        """What follows a filler, without a click: the model's own audio. No other model may stand in any more."""
        rate_hz = self.pipelines[model].card.sample_rate_hz
        first = await before(request.deadline, anext(audio), f"model {model!r} made no audio")
        self.health.answered(model)
        event: AudioChunk | StreamEnd | None = first
        if isinstance(first, AudioChunk):
            self.loads.first_audio(model, time.monotonic() - began_s)
            event = faded_in(first, rate_hz)
        while event is not None:
            if isinstance(event, StreamEnd):
                event = replace(event, audio_s=event.audio_s + len(filler.samples) / rate_hz)
            yield event
            event = await anext(audio, None)

    def _start(self, plan: Plan, choice: Choice, filler: Filler | None = None) -> StreamStart:
        card = self.pipelines[choice.model].card
        unknown = ("filler",) if plan.request.filler and self.fillers is None else ()
        return StreamStart(
            model=card.name,
            voice=plan.voice.id,
            sample_rate_hz=card.sample_rate_hz,
            reason=choice.reason,
            tempo=plan.tempo,
            voice_cache=plan.voice_cache,
            ignored=(*plan.ignored, *unknown),
            warnings=(*choice.warnings(plan.voice.id), *plan.warnings),
            filler_ms=1000 * filler.duration_s if filler else 0.0,
        )

    async def _wait(self, model: str, work: Awaitable[T], deadline: Deadline, what: str, others: bool) -> T:
        async def look() -> None:
            if not await self.health.answers(model):
                raise Unavailable(f"model {model!r} does not answer; try again", retry_after_s=2)

        return await before(deadline, watched(look, LOOK_EVERY_S, work) if others else work, what)

    def _tell(self, choice: Choice, request: SpeechRequest, expected_s: float | None) -> None:
        self.telemetry.decided(choice.model, choice.reason)
        key = f" [key {request.key_id}]" if request.key_id else ""
        expected = "at an unknown time" if expected_s is None else f"in {expected_s:.2f} s"
        RequestLogger(request.request_id).info(
            "model %s is asked (%s); its first audio is expected %s%s",
            choice.model,
            choice.reason,
            expected,
            key,
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
