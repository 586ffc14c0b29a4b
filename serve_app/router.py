"""The Router deployment: chooses the model of a request, runs its pipeline, falls back before the first audio."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.core.errors import Overloaded, SpeechError, Unavailable
from deployments.core.pipeline import Pipeline, Plan, parse_model
from deployments.core.speech import (
    AudioChunk,
    ModelCard,
    SpeechRequest,
    StreamEnd,
    StreamEvent,
    StreamFailed,
    StreamStart,
    Voice,
)
from deployments.text.check import check_text
from deployments.text.language import detect_language
from serve_app.admission import Admission
from serve_app.client import cause_of
from serve_app.config import Config
from serve_app.routing import Choice, Needs, rank
from serve_app.telemetry import LoadMonitor, Telemetry
from serve_app.voice_registry import VoiceDesk

logger = logging.getLogger("ray.serve")

READY_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What clients may ask for."""

    models: tuple[ModelCard, ...]
    voices: tuple[Voice, ...]
    model_aliases: Mapping[str, str]
    default_model: str


class Router:
    """Holds handles and pipelines, no weights. One replica serves many requests on one event loop."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: Config, stages: dict[str, dict[str, DeploymentHandle]]
    ) -> None:
        self._config = config
        self._pipelines: dict[str, Pipeline] = {}
        for name, entry in config.models.items():
            kind, settings = parse_model(name, entry)
            self._pipelines[name] = kind(name, settings, stages[name])
        limits = config.limits
        self._admission = Admission(limits.max_active, limits.max_queued, limits.retry_after_s)
        self._monitor = LoadMonitor(
            {name: pipeline.card.capacity for name, pipeline in self._pipelines.items()}
        )
        self._telemetry = Telemetry()
        self._desk = VoiceDesk(config.voices, self._pipelines)
        self._desk.start()

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        """StreamStart, audio in order, StreamEnd; or StreamFailed, as the first event for everything that can be
        known by then: bad input, unknown model or voice, no capacity, no model that can serve."""
        arrived = time.monotonic()
        model = "none"
        complete = False
        try:
            choices, request = await self._choices(request)
            async with self._admission.slot():
                self._telemetry.in_flight(self._admission.active + self._admission.queued)
                async for event in self._first_that_works(choices, request, arrived):
                    if isinstance(event, StreamStart):
                        model = event.model
                    elif isinstance(event, StreamEnd):
                        complete = True
                        self._telemetry.finished(model, event.audio_s, time.monotonic() - arrived)
                    yield event
        except SpeechError as error:
            self._telemetry.failed(model, error.status)
            complete = True
            yield StreamFailed(error)
        finally:
            self._telemetry.in_flight(self._admission.active + self._admission.queued)
            if not complete:
                self._telemetry.aborted("client-left")

    async def _choices(self, request: SpeechRequest) -> tuple[list[Choice], SpeechRequest]:
        text = check_text(request.text, max_chars=self._config.limits.max_input_chars)
        request = replace(request, text=text)
        needs = Needs(
            language=request.language or _needed_language(text),
            cloning=request.reference_audio is not None,
            emotion=request.emotion is not None,
            owners=None if request.reference_audio is not None else await self._owners(request.voice),
        )
        cards = [pipeline.card for pipeline in self._pipelines.values()]
        choices = rank(
            request,
            needs,
            cards,
            self._config.model_aliases,
            self._monitor.loads(),
            self._config.default_model,
        )
        return choices, request

    async def _owners(self, voice: str | None) -> frozenset[str] | None:
        """Models that have `voice`; None if none was named or none has it (the pipeline then says so)."""
        if voice is None:
            return None
        owners = frozenset(v.model for v in await self._voices() if voice == v.id or voice in v.aliases)
        return owners or await self._desk.owners(voice)

    async def _first_that_works(
        self, choices: list[Choice], request: SpeechRequest, arrived: float
    ) -> AsyncGenerator[StreamEvent, None]:
        for position, choice in enumerate(choices):
            began = False
            stream = self._run(choice, request, arrived)
            try:
                async for event in stream:
                    began = True
                    yield event
            except Exception as error:
                told = _for_people(choice.model, error)
                # Bad input is bad for every model; after the first audio nothing can be taken back.
                if began or position + 1 == len(choices) or told.status < Overloaded.status:
                    raise told from error
                logger.warning("model %s cannot serve: %s", choice.model, told)
                self._telemetry.fell_back(choice.model)
            else:
                return
            finally:
                await stream.aclose()

    async def _run(
        self, choice: Choice, request: SpeechRequest, arrived: float
    ) -> AsyncGenerator[StreamEvent, None]:
        pipeline = self._pipelines[choice.model]
        plan = await pipeline.plan(request)
        self._telemetry.decided(choice.model, choice.reason)
        self._monitor.active[choice.model] += 1
        began = time.monotonic()
        audio = pipeline.stream(plan)
        try:
            first = await self._first_event(choice.model, audio)
            if isinstance(first, AudioChunk):
                self._monitor.first_audio(choice.model, time.monotonic() - began)
                self._telemetry.first_audio(choice.model, choice.reason, time.monotonic() - arrived)
            yield _start(pipeline.card, plan, choice)
            yield first
            async for event in audio:
                yield event
        finally:
            self._monitor.active[choice.model] -= 1
            await audio.aclose()

    async def _first_event(
        self, model: str, audio: AsyncGenerator[AudioChunk | StreamEnd, None]
    ) -> AudioChunk | StreamEnd:
        limits = self._config.limits
        try:
            return await asyncio.wait_for(anext(audio), limits.first_audio_timeout_s)
        except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
            raise Unavailable(
                f"model {model!r} made no audio within {limits.first_audio_timeout_s:g} s",
                code="deadline_exceeded",
                retry_after_s=limits.retry_after_s,
            ) from None

    async def catalogue(self) -> Catalogue:
        return Catalogue(
            models=tuple(pipeline.card for pipeline in self._pipelines.values()),
            voices=(*await self._voices(), *await self._desk.voices()),
            model_aliases=self._config.model_aliases,
            default_model=self._config.default_model or next(iter(self._pipelines)),
        )

    async def _voices(self) -> list[Voice]:
        return [voice for pipeline in self._pipelines.values() for voice in await pipeline.voices()]

    async def at_desk(self, action: str, *arguments: Any, **fields: Any) -> Any:
        """Call a method of VoiceDesk. A SpeechError is returned, because Serve logs what is raised as a crash."""
        try:
            return await getattr(self._desk, action)(*arguments, **fields)
        except SpeechError as error:
            return error

    async def status(self) -> dict[str, bool]:
        """Whether each model answers within two seconds."""
        names = list(self._pipelines)
        answers = await asyncio.gather(*(self._is_ready(self._pipelines[name]) for name in names))
        self._monitor.ready.update(zip(names, answers, strict=True))
        return dict(self._monitor.ready)

    @staticmethod
    async def _is_ready(pipeline: Pipeline) -> bool:
        try:
            return await asyncio.wait_for(pipeline.ready(), READY_TIMEOUT_S)
        except Exception:  # whatever a stage raises, it is not ready
            return False


def _needed_language(text: str) -> str | None:
    """A language that rules models out. Latin text does not: its language cannot be told from the script."""
    language = detect_language(text)
    return None if language == "en" else language


def _start(card: ModelCard, plan: Plan, choice: Choice) -> StreamStart:
    return StreamStart(
        model=card.name,
        voice=plan.voice.id,
        sample_rate_hz=card.sample_rate_hz,
        reason=choice.reason,
        tempo=plan.tempo,
        voice_cache=plan.voice_cache,
        ignored=plan.ignored,
    )


def _for_people(model: str, error: Exception) -> SpeechError:
    """What a client is told of any failure; unexpected ones are logged with their trace."""
    cause = cause_of(error) if isinstance(error, RayTaskError) else error
    if isinstance(cause, SpeechError):
        return cause
    if isinstance(cause, BackPressureError):
        return Overloaded(f"model {model!r} is full; try again shortly", retry_after_s=2)
    logger.error("model %s failed", model, exc_info=cause)
    if isinstance(cause, RayActorError | RayServeException):
        return Unavailable(
            f"model {model!r} stopped while working on this request; try again", retry_after_s=2
        )
    return SpeechError(f"model {model!r} failed on this request; the server's log has the details")
