"""The Router deployment: chooses the model of a request, runs its pipeline, falls back before the first audio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.core.catalogue import Catalogue, ModelCard
from deployments.core.deadline import NEVER, Deadline, before, within
from deployments.core.deaths import death_behind
from deployments.core.errors import DeadlineExceeded, Overloaded, SpeechError, Unavailable
from deployments.core.logs import RequestLogger, logger
from deployments.core.pipeline import Pipeline, Plan, parse_model
from deployments.core.ray_internals import logs_directory
from deployments.core.speech import (
    AudioChunk,
    SpeechRequest,
    StreamEnd,
    StreamEvent,
    StreamFailed,
    StreamStart,
)
from deployments.text.check import check_text
from deployments.text.language import script_language
from deployments.voices.library import Outcome
from deployments.voices.registered_voice import NewVoice, RegisteredVoice, VoiceChanges
from serve_app.admission import Admission
from serve_app.client import cause_of
from serve_app.config import POLICIES, Config
from serve_app.routing import (
    Choice,
    Needs,
    default_model,
    moves_on,
    no_such_voice,
    rank,
    resolve,
    served_language,
    stand_in,
)
from serve_app.telemetry import LoadMonitor, RequestRecord, Telemetry
from serve_app.voice_registry import VoiceRegistry

READY_TIMEOUT_S = 2.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _OpenStream:
    """A stream whose first event is there. Leaving its context ends all work for the request."""

    start: StreamStart
    first: AudioChunk | StreamEnd
    rest: AsyncGenerator[AudioChunk | StreamEnd, None]
    stack: AsyncExitStack

    async def __aenter__(self) -> _OpenStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stack.aclose()


class Router:
    """Holds handles and pipelines, no weights. One replica serves many requests on one event loop."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: Config, stages: dict[str, dict[str, DeploymentHandle[Any]]]
    ) -> None:
        self._config = config
        self._pipelines: dict[str, Pipeline] = {}
        for name, entry in config.models.items():
            kind, settings = parse_model(name, entry)
            self._pipelines[name] = kind(name, settings, stages[name])
        self._cards = [pipeline.card for pipeline in self._pipelines.values()]
        self._admissions = {name: self._admission(name) for name in self._pipelines}
        self._monitor = LoadMonitor(self._pipelines)
        self._telemetry = Telemetry()
        self._voices = VoiceRegistry(config.voices, self._pipelines)
        self._voices.start()
        self._warming = [asyncio.create_task(self._warm_up(name)) for name in self._pipelines]

    async def _warm_up(self, model: str) -> None:
        try:
            await self._pipelines[model].warm_up()
        except (
            Exception
        ):  # what a stage cannot do now, a request will be told; other models are not concerned
            logger.exception("model %s could not be measured before its first request", model)

    def _admission(self, model: str) -> Admission:
        limits, pipeline = self._config.limits, self._pipelines[model]
        return Admission(
            model,
            max_active=limits.max_active,
            max_queued=limits.max_queued,
            retry_after_s=limits.retry_after_s,
            rows=lambda: pipeline.rows,
        )

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        """StreamStart, audio in order, StreamEnd; or StreamFailed, as the first event for everything that can be
        known by then: bad input, unknown model or voice, no capacity, no model that can serve."""
        record = self._telemetry.request()
        try:
            checked = self._checked(request)
            async with await self._open(self._choices(checked), checked, record) as stream:
                yield stream.start
                event: AudioChunk | StreamEnd | None = stream.first
                while event is not None:
                    if isinstance(event, StreamEnd):
                        record.finished(event)
                        self._telemetry.stages(record.model, self._pipelines[record.model].monitor.stages())
                    yield event
                    event = await anext(stream.rest, None)
            if not record.settled:
                raise SpeechError(f"model {record.model!r} stopped before the text was spoken")
        except Exception as error:
            failure = _as_answer(record.model, error, request.request_id)
            record.failed(failure)
            yield StreamFailed(failure)
        finally:
            record.closed()
            self._count_in_flight()

    def _checked(self, request: SpeechRequest) -> SpeechRequest:
        limits = self._config.limits
        deadline = request.deadline
        if deadline is NEVER or deadline.left_s > limits.first_audio_timeout_s:
            deadline = Deadline.after(limits.first_audio_timeout_s)
        text = check_text(request.text, max_chars=limits.max_input_chars, cleaning=request.text_cleaning)
        language = served_language(request.language, self._cards)
        return replace(request, text=text, language=language, deadline=deadline)

    def _choices(self, request: SpeechRequest) -> list[Choice]:
        """Nothing here waits for a stage or a store: what one model or store does concerns no other model."""
        return rank(
            request,
            self._needs(request),
            self._cards,
            self._config.model_aliases,
            self._monitor.loads(),
            self._config.default_model,
        )

    def _needs(self, request: SpeechRequest) -> Needs:
        needs = Needs(
            language=request.language or script_language(request.text),
            cloning=request.reference_audio is not None,
            emotion=request.emotion is not None,
        )
        if request.voice is None or request.reference_audio is not None:
            return needs
        owners = frozenset(
            name
            for name, pipeline in self._pipelines.items()
            if _spelled(request.voice, pipeline) is not None
        )
        if not owners and self._voices.find_in_memory(request.voice) is not None:
            owners = self._voices.cloning_models
        return replace(needs, owners=owners) if owners else replace(needs, voice_unknown=True)

    async def _open(
        self, choices: list[Choice], request: SpeechRequest, record: RequestRecord
    ) -> _OpenStream:
        """The first choice that comes as far as its first event."""
        for place, choice in enumerate(choices):
            try:
                told = stand_in(choice, choices[0]) if place else choice
                return await self._attempt(told, request, record)
            except SpeechError as failure:  # noqa: PERF203
                if failure.code == "voice_not_found" and self._is_policy(request):
                    raise no_such_voice(request.voice) from failure  # which is not that one model's fault
                last = place + 1 == len(choices)
                # A model that is given no time is not to blame.
                if last or request.deadline.passed or not moves_on(request, failure):
                    raise
                RequestLogger(request.request_id).warning("model %s cannot serve: %s", choice.model, failure)
                self._telemetry.fell_back(choice.model)
        raise AssertionError("there is always a model to try")

    def _is_policy(self, request: SpeechRequest) -> bool:
        return resolve(request.model, self._cards, self._config.model_aliases) in POLICIES

    async def _attempt(self, choice: Choice, request: SpeechRequest, record: RequestRecord) -> _OpenStream:
        """One model's stream, up to its first event before the deadline. Raises SpeechError."""
        model, pipeline = choice.model, self._pipelines[choice.model]
        record.model = model
        request = replace(request, voice=_spelled(request.voice, pipeline) or request.voice)
        try:
            async with AsyncExitStack() as stack:
                await self._admit(model, request, stack)
                plan = await before(
                    request.deadline, pipeline.plan(request), f"model {model!r} was not ready to speak"
                )
                self._telemetry.decided(model, choice.reason)
                began_s = time.monotonic()
                audio = pipeline.stream(plan)
                stack.push_async_callback(audio.aclose)
                first = await before(request.deadline, anext(audio), f"model {model!r} made no audio")
                self._monitor.answered(model)
                if isinstance(first, AudioChunk):
                    self._monitor.first_audio(model, time.monotonic() - began_s)
                    record.first_audio(choice.reason)
                return _OpenStream(_start(pipeline.card, plan, choice), first, audio, stack.pop_all())
        except Exception as error:
            failure = _as_answer(model, error, request.request_id)
            if failure.code == Unavailable.default_code or self._all_time_passed(failure, record):
                self._monitor.failed(model)
            raise failure from error

    async def _admit(self, model: str, request: SpeechRequest, stack: AsyncExitStack) -> None:
        slot = self._admissions[model].slot(self._pipelines[model].rows_of(request))
        await before(
            request.deadline,
            stack.enter_async_context(slot),
            f"model {model!r} had no place for this request",
        )
        self._count_in_flight()

    def _all_time_passed(self, failure: SpeechError, record: RequestRecord) -> bool:
        """Whether a deadline was missed that was no shorter than the server's own: only then it tells of the model."""
        waited_s = time.monotonic() - record.arrived_s
        allowed_s = self._config.limits.first_audio_timeout_s
        return failure.code == DeadlineExceeded.default_code and waited_s >= allowed_s

    def _count_in_flight(self) -> None:
        self._telemetry.in_flight(
            sum(admission.active + admission.queued for admission in self._admissions.values())
        )

    async def catalogue(self, voices: bool = True) -> Catalogue:
        """What clients may ask for; without `voices` no store is looked at."""
        fixed = [voice for pipeline in self._pipelines.values() for voice in pipeline.voices]
        uploaded = await self._voices.cards() if voices else ()
        return Catalogue(
            models=tuple(self._cards),
            voices=(*fixed, *uploaded) if voices else (),
            model_aliases=self._config.model_aliases,
            default_model=default_model(self._config.default_model, self._cards),
        )

    async def status(self) -> dict[str, bool]:
        """Whether each model answers within two seconds."""
        answers = await asyncio.gather(*(self._is_ready(name) for name in self._pipelines))
        return dict(zip(self._pipelines, answers, strict=True))

    async def _is_ready(self, model: str) -> bool:
        try:
            ready = await within(READY_TIMEOUT_S, self._pipelines[model].ready())
        except Exception:  # whatever a stage raises, it is not ready
            ready = False
        if not ready:
            self._monitor.not_ready(model)
        return ready

    # Uploaded voices. Errors are returned, because Serve logs what is raised between replicas as a crash.

    async def register_voice(self, voice: NewVoice) -> RegisteredVoice | SpeechError:
        return await _or_error(self._voices.register(voice))

    async def registered_voice(self, name: str) -> RegisteredVoice | SpeechError:
        return await _or_error(self._voices.get(name))

    async def update_voice(self, name: str, changes: VoiceChanges) -> RegisteredVoice | SpeechError:
        return await _or_error(self._voices.update(name, changes))

    async def delete_voice(self, name: str) -> str | SpeechError:
        return await _or_error(self._voices.delete(name))

    async def voice_sample(self, name: str) -> tuple[str, bytes] | SpeechError:
        return await _or_error(self._voices.sample(name))

    async def preload_voice(self, name: str) -> dict[str, Outcome] | SpeechError:
        return await _or_error(self._voices.preload(name))


async def _or_error(work: Awaitable[T]) -> T | SpeechError:
    try:
        return await work
    except SpeechError as error:
        return error


def _spelled(voice: str | None, pipeline: Pipeline) -> str | None:
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


def _as_answer(model: str, error: Exception, request_id: str) -> SpeechError:
    """What a client is told of any failure; unexpected ones are logged with their trace."""
    cause = cause_of(error) if isinstance(error, RayTaskError) else error
    if isinstance(cause, SpeechError):
        return cause
    if isinstance(cause, BackPressureError):
        return Overloaded(f"model {model!r} is full; try again shortly", retry_after_s=2)
    RequestLogger(request_id).error("model %s failed", model, exc_info=cause)
    if isinstance(cause, RayActorError | RayServeException):
        logs = logs_directory()
        death = death_behind(cause, logs) if logs else None
        if death is not None:
            RequestLogger(request_id).error("model %s: %s. %s", model, death, death.advice)
        told = f": {death}" if death else ""
        return Unavailable(
            f"model {model!r} stopped while working on this request{told}; try again", retry_after_s=2
        )
    return SpeechError(f"model {model!r} failed on this request; the server's log has the details")
