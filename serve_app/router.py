"""The Router deployment: chooses the model of a request, runs its pipeline, falls back before the first audio."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.core import AudioChunk, ModelCard, SpeechRequest, StreamEnd, StreamEvent, StreamStart, Voice
from deployments.errors import Overloaded, SpeechError, Unavailable
from deployments.text.check import check_text
from deployments.text.language import detect_language
from serve_app.admission import Admission
from serve_app.config import Config
from serve_app.pipelines.base import Pipeline, Plan, parse_model
from serve_app.routing import Choice, Needs, rank
from serve_app.telemetry import LoadMonitor, Telemetry

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
        self._monitor = LoadMonitor(dict.fromkeys(self._pipelines, 1))
        self._telemetry = Telemetry()

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        """StreamStart, audio in order, StreamEnd. Raises SpeechError before the first event for everything that
        can be known by then: bad input, unknown model or voice, no capacity, no model that can serve."""
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
            raise
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
            owners=await self._owners(request.voice),
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
        return owners or None

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
            except (RayActorError, RayServeException, BackPressureError, Unavailable) as error:
                if isinstance(error, SpeechError | BackPressureError):
                    logger.warning("model %s cannot serve: %s", choice.model, error)
                else:
                    logger.exception("model %s failed", choice.model)
                if began or position + 1 == len(choices):
                    raise _for_people(choice.model, error) from error
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
            first = await asyncio.wait_for(anext(audio), self._config.limits.first_audio_timeout_s)
            if isinstance(first, AudioChunk):
                self._monitor.first_audio(choice.model, time.monotonic() - began)
                self._telemetry.first_audio(choice.model, choice.reason, time.monotonic() - arrived)
            yield _start(pipeline.card, plan, choice)
            yield first
            async for event in audio:
                yield event
        except TimeoutError:
            raise Unavailable(
                f"model {choice.model!r} made no audio within {self._config.limits.first_audio_timeout_s:g} s",
                code="deadline_exceeded",
                retry_after_s=self._config.limits.retry_after_s,
            ) from None
        finally:
            self._monitor.active[choice.model] -= 1
            await audio.aclose()

    async def catalogue(self) -> Catalogue:
        return Catalogue(
            models=tuple(pipeline.card for pipeline in self._pipelines.values()),
            voices=tuple(await self._voices()),
            model_aliases=self._config.model_aliases,
            default_model=self._config.default_model or next(iter(self._pipelines)),
        )

    async def _voices(self) -> list[Voice]:
        return [voice for pipeline in self._pipelines.values() for voice in await pipeline.voices()]

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
    if isinstance(error, SpeechError):
        return error
    if isinstance(error, BackPressureError):
        return Overloaded(f"model {model!r} is full; try again shortly", retry_after_s=2)
    return Unavailable(f"model {model!r} stopped while working on this request; try again", retry_after_s=2)
