"""The Router deployment: chooses the model of a request, runs its pipeline, falls back before the first audio."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast

from ray.serve.handle import DeploymentHandle

from deployments.core.catalogue import Catalogue
from deployments.core.deadline import NEVER, Deadline, within
from deployments.core.errors import DeadlineExceeded, SpeechError
from deployments.core.logs import logger
from deployments.core.metrics import StageMetrics
from deployments.core.pipeline import Pipeline, parse_model
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd, StreamEvent, StreamFailed
from deployments.core.stage_watch import WatchedHandle
from deployments.text.check import check_text
from deployments.text.language import script_language
from deployments.voices.library import Outcome
from deployments.voices.registered_voice import NewVoice, RegisteredVoice, VoiceChanges
from serve_app.config import Config, InPlace
from serve_app.observe.now import ModelNow, model_now
from serve_app.request_limit import RequestLimit
from serve_app.routing.decision import Decision
from serve_app.routing.failures import as_answer
from serve_app.routing.fillers import Fillers
from serve_app.routing.health import HealthMonitor
from serve_app.routing.load import LoadMonitor
from serve_app.routing.names import POLICIES, default_model, no_such_voice, served_language
from serve_app.routing.needs import Needs
from serve_app.routing.opening import Opener, OpenStream, spelled
from serve_app.routing.policy import Policy, decide
from serve_app.routing.replicas import Replicas
from serve_app.routing.sleep import Sleepers
from serve_app.scaling.crowd import crowd_stats
from serve_app.telemetry import RequestRecord, Telemetry
from serve_app.voice_registry import VoiceRegistry

T = TypeVar("T")


class Router:
    """Holds handles and pipelines, no weights. One replica serves many requests on one event loop."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: Config, stages: dict[str, dict[str, DeploymentHandle[Any]]]
    ) -> None:
        self._config = config
        self._pipelines: dict[str, Pipeline] = {}
        handles = {
            name: {stage: WatchedHandle(handle) for stage, handle in found.items()}
            for name, found in stages.items()
        }
        for name, entry in config.models.items():
            kind, settings = parse_model(name, entry)
            watched = cast(dict[str, DeploymentHandle[Any]], handles[name])
            self._pipelines[name] = kind(name, settings, watched)
        cards = tuple(pipeline.card for pipeline in self._pipelines.values())
        self._policy = Policy(cards, config.model_aliases, config.default_model, config.routing)
        limits = {
            name: RequestLimit(
                name, most=config.limits.max_requests, retry_after_s=config.limits.retry_after_s
            )
            for name in self._pipelines
        }
        self._limits = limits
        self._speaking: Counter[str] = Counter()
        replicas = Replicas(
            {
                name: {stage: handle.watch for stage, handle in found.items()}
                for name, found in handles.items()
            }
        )
        self._sleepers = Sleepers(self._pipelines, config.cold_start_s, replicas.at_rest)
        self._health = HealthMonitor(self._pipelines, replicas=replicas, asleep=self._sleepers.asleep)
        self._loads = LoadMonitor(self._pipelines, self._health, limits, self._sleepers)
        self._telemetry = Telemetry(config.observe.slow_first_audio_s)
        fillers = config.routing.fillers
        self._fillers = None if fillers is None else Fillers(fillers, self._pipelines, self._loads.load)
        self._opener = Opener(
            self._pipelines,
            limits,
            self._health,
            self._loads,
            self._telemetry,
            config.limits.first_audio_timeout_s,
            self._sleepers,
            self._fillers,
        )
        self._voices = VoiceRegistry(config.voices, self._pipelines)
        self._voices.library.when_found = self._telemetry.found_profile
        self._voices.start()
        self._watching = asyncio.create_task(self._health.watch())
        self._warming = [asyncio.create_task(self._warm_up(name)) for name in self._pipelines]

    def reconfigure(self, changes: dict[str, Any]) -> None:
        """What `user_config` says, from the next request on. Serve calls it by this name."""
        limits = InPlace(**changes).limits
        self._config = self._config.model_copy(update={"limits": limits})
        for limit in self._limits.values():
            limit.change(most=limits.max_requests, retry_after_s=limits.retry_after_s)
        self._opener = replace(self._opener, first_audio_timeout_s=limits.first_audio_timeout_s)

    async def _warm_up(self, model: str) -> None:
        try:
            await self._sleepers.awake(model)
            await self._pipelines[model].warm_up()
        # What a stage cannot do now, a request will be told; other models are not concerned.
        except Exception:
            logger.exception("model %s could not be measured before its first request", model)

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        """StreamStart, audio in order, StreamEnd; or StreamFailed, as the first event for everything that can be
        known by then: bad input, unknown model or voice, no capacity, no model that can serve."""
        record = self._telemetry.request(request, self._policy.asked(request))
        try:
            request = self._checked(request)
            async with await self._open(request, record) as stream, self._heard(record.model):
                yield stream.start
                event: AudioChunk | StreamEnd | None = stream.first
                # A filler comes before the model has said anything: what is next has the time of a first audio.
                allowed_s = (
                    request.deadline.left_s if stream.start.filler_ms else self._piece_timeout_s(request)
                )
                while event is not None:
                    self._health.heard(record.model)
                    if isinstance(event, StreamEnd):
                        record.finished(event)
                        self._telemetry.stages(record.model, self._pipelines[record.model].monitor.stages())
                    else:
                        record.sent(stream.start.audio_s(event))
                    yield event
                    with self._opener.judged(record.model, request.request_id):
                        event = await self._next_piece(stream.rest, record.model, allowed_s)
                    allowed_s = self._piece_timeout_s(request)
            if not record.settled:
                raise SpeechError(f"model {record.model!r} stopped before the text was spoken")
        except Exception as error:
            failure = as_answer(record.model, error, request.request_id)
            record.failed(failure)
            yield StreamFailed(failure)
        finally:
            record.closed()
            self._opener.count_in_flight()

    @asynccontextmanager
    async def _heard(self, model: str) -> AsyncGenerator[None, None]:
        self._speaking[model] += 1
        try:
            yield
        finally:
            self._speaking[model] -= 1

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Streams of each model that are heard, and that wait. Serve asks for it by this name."""
        held = {name: limit.held for name, limit in self._limits.items()}
        return crowd_stats(held, self._speaking)

    def _piece_timeout_s(self, request: SpeechRequest) -> float:
        """Between two pieces. Nobody listens yet to what is sent whole, and its pieces are longer."""
        limits = self._config.limits
        return limits.piece_timeout_s if request.stream else limits.first_audio_timeout_s

    async def _next_piece(
        self, pieces: AsyncGenerator[AudioChunk | StreamEnd, None], model: str, allowed_s: float
    ) -> AudioChunk | StreamEnd | None:
        try:
            return await within(allowed_s, anext(pieces, None))
        except TimeoutError:
            raise DeadlineExceeded(
                f"model {model!r} made no more audio for {allowed_s:g} s, so the stream is cut",
                code="stream_stalled",
                retry_after_s=2,
            ) from None

    def _checked(self, request: SpeechRequest) -> SpeechRequest:
        limits = self._config.limits
        deadline = request.deadline
        if deadline is NEVER or deadline.left_s > limits.first_audio_timeout_s:
            deadline = Deadline.after(limits.first_audio_timeout_s)
        text = check_text(request.text, max_chars=limits.max_input_chars, cleaning=request.text_cleaning)
        language = served_language(request.language, self._policy.cards)
        return replace(request, text=text, language=language, deadline=deadline)

    def _decide(self, request: SpeechRequest) -> Decision:
        """Nothing here waits for a stage or a store: what one model or store does concerns no other model."""
        return decide(request, self._needs(request), self._policy, self._loads.loads())

    def _needs(self, request: SpeechRequest) -> Needs:
        needs = Needs(
            language=request.language or script_language(request.text),
            cloning=request.reference_audio is not None,
            emotion=request.emotion is not None,
            transcript=request.reference_audio is None or bool(request.reference_text),
            dialogue=request.dialogue,
            instructions=request.instructions is not None,
            sample_rate_hz=request.sample_rate_hz,
        )
        if request.voice is None or request.reference_audio is not None:
            return needs
        owners = frozenset(
            name for name, pipeline in self._pipelines.items() if spelled(request.voice, pipeline) is not None
        )
        if owners:
            return replace(needs, owners=owners)
        uploaded = self._voices.find_in_memory(request.voice)
        if uploaded is None or not request.may_use_voice_of(uploaded.owner):
            return replace(needs, voice_unknown=True)
        return replace(needs, owners=self._voices.cloning_models, transcript=bool(uploaded.reference_text))

    async def _open(self, request: SpeechRequest, record: RequestRecord) -> OpenStream:
        decision = self._decide(request)
        if decision.problem is not None:
            raise decision.problem
        if self._fillers is not None:
            request = replace(request, filler=decision.may_fill)
        try:
            return await self._opener.open(decision, request, record)
        except SpeechError as failure:
            if failure.code == "voice_not_found" and self._policy.wanted(request) in POLICIES:
                raise no_such_voice(request.voice) from failure  # which is not that one model's fault
            raise

    async def route(self, request: SpeechRequest) -> Decision | SpeechError:
        """What would become of the request if it came now; no model hears of it."""
        try:
            return self._decide(self._checked(request))
        except SpeechError as error:
            return error

    async def catalogue(self, voices: bool = True) -> Catalogue:
        """What clients may ask for; without `voices` no store is looked at."""
        fixed = [voice for pipeline in self._pipelines.values() for voice in pipeline.voices]
        uploaded = await self._voices.cards() if voices else ()
        return Catalogue(
            models=self._policy.cards,
            voices=(*fixed, *uploaded) if voices else (),
            model_aliases=self._config.model_aliases,
            default_model=default_model(self._config.default_model, self._policy.cards),
        )

    async def stage_metrics(self) -> dict[str, dict[str, list[StageMetrics]]]:
        """By model and stage, what the replicas last said of themselves to this Router."""
        return {name: dict(pipeline.monitor.stages()) for name, pipeline in self._pipelines.items()}

    async def status(self) -> dict[str, bool]:
        """Whether each model answers, within two seconds; one that works for others does."""
        return await self._health.status()

    async def now(self) -> tuple[ModelNow, ...]:
        """What each model is doing, without a call to a stage."""
        return tuple(
            model_now(
                name,
                self._loads.load(name),
                self._limits[name].held,
                self._telemetry.recent,
                self._health.replicas.running(name),
                pipeline.monitor.stages(),
            )
            for name, pipeline in self._pipelines.items()
        )

    # Uploaded voices. Errors are returned, because Serve logs what is raised between replicas as a crash.

    async def register_voice(self, voice: NewVoice) -> RegisteredVoice | SpeechError:
        registered = await _or_error(self._voices.register(voice))
        if isinstance(registered, RegisteredVoice):
            self._prepare_fillers(registered.id, registered.language)
        return registered

    async def registered_voice(self, name: str) -> RegisteredVoice | SpeechError:
        return await _or_error(self._voices.get(name))

    async def update_voice(self, name: str, changes: VoiceChanges) -> RegisteredVoice | SpeechError:
        return await _or_error(self._voices.update(name, changes))

    async def delete_voice(self, name: str) -> str | SpeechError:
        deleted = await _or_error(self._voices.delete(name))
        if isinstance(deleted, str) and self._fillers is not None:
            self._fillers.forget(deleted)
        return deleted

    async def voice_sample(self, name: str) -> tuple[str, bytes] | SpeechError:
        return await _or_error(self._voices.sample(name))

    async def preload_voice(self, name: str) -> dict[str, Outcome] | SpeechError:
        return await _or_error(self._voices.preload(name))

    def _prepare_fillers(self, voice: str, language: str) -> None:
        """In the background, once a voice is there; whoever speaks with it then is not concerned."""
        if self._fillers is None:
            return
        for model in sorted(self._voices.cloning_models):
            self._fillers.prepare(model, voice, language or None)


async def _or_error(work: Awaitable[T]) -> T | SpeechError:
    try:
        return await work
    except SpeechError as error:
        return error
