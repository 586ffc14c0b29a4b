"""Uploaded voices: kept in one store, offered by every model that clones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar, cast

from deployments.core.catalogue import OPENAI_VOICES, VoiceCard, fold
from deployments.core.errors import Conflict, InvalidRequest, NotFound, SpeechError, Unavailable
from deployments.core.logs import logger
from deployments.core.pipeline import Pipeline
from deployments.voices.library import CloningPipeline, Outcome, VoiceLibrary
from deployments.voices.registered_voice import (
    NewVoice,
    RegisteredVoice,
    VoiceChanges,
    VoiceDamaged,
    voice_not_found,
)
from deployments.voices.store import VoiceStore
from deployments.voices.workers import Workers
from serve_app.config import VoiceSettings

T = TypeVar("T")

CHANGES_AT_ONCE = 2
MAX_WAITING_CHANGES = 16  # each may hold a recording of 10 MB
CHANGE_TIMEOUT_S = 60.0


class VoiceRegistry:
    """One per router process; several share a store. Raises SpeechError with what HTTP answers."""

    def __init__(self, settings: VoiceSettings, pipelines: Mapping[str, Pipeline]) -> None:
        self._settings = settings
        self._store = VoiceStore(settings.url, max_voices=settings.max_voices)
        self.library = VoiceLibrary(self._store, ram_bytes=settings.ram_bytes)
        self._registered = self.library.registered
        self._cloners = {
            name: cast(CloningPipeline, pipeline)
            for name, pipeline in pipelines.items()
            if pipeline.card.cloning
        }
        for pipeline in self._cloners.values():
            pipeline.use_library(self.library)
        cards = (card for pipeline in pipelines.values() for card in pipeline.voices)
        self._fixed = frozenset(fold(name) for card in cards for name in card.names)
        self._workers = Workers("voice-changes", CHANGES_AT_ONCE)
        self._changes = 0
        self._preloading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at the store, and get the voices ready that the configuration names, while requests are served."""
        self._registered.refresh_soon()
        self._preloading = asyncio.create_task(self._preload(self._settings.preload))

    @property
    def cloning_models(self) -> frozenset[str]:
        """Those that speak with uploaded voices."""
        return frozenset(self._cloners)

    async def cards(self) -> tuple[VoiceCard, ...]:
        """As listed to clients, oldest first."""
        return await self._registered.cards()

    def find_in_memory(self, name: str) -> RegisteredVoice | None:
        """The uploaded voice of that id, name or alias, as far as is known at this moment; waits for nothing.

        Raises VoiceDamaged.
        """
        return self._registered.known(name)

    async def register(self, new: NewVoice) -> RegisteredVoice:
        """Keep a recording as a voice; its `warnings` say what the models that clone will not hear of it."""
        self._refuse_reserved((new.name, *new.aliases))
        return self._with_warnings(await self._change(partial(self._store.register, new)))

    async def get(self, name: str) -> RegisteredVoice:
        """The uploaded voice of that id, name or alias."""
        return self._with_warnings(await self._find(name))

    async def update(self, name: str, changes: VoiceChanges) -> RegisteredVoice:
        new_names = () if changes.name is None else (changes.name,)
        self._refuse_reserved((*new_names, *(changes.aliases or ())))
        return self._with_warnings(await self._change(partial(self._update, name, changes)))

    def _update(self, name: str, changes: VoiceChanges) -> RegisteredVoice:
        return self._store.update(self._stored(name).id, changes)

    async def delete(self, name: str) -> str:
        """Delete a voice with its recording and profiles; gives its id."""
        return await self._change(partial(self._delete, name))

    def _delete(self, name: str) -> str:
        try:
            voice_id = self._stored(name).id
        except VoiceDamaged:
            voice_id = name
        self._store.delete(voice_id)
        return voice_id

    async def sample(self, name: str) -> tuple[str, bytes]:
        """Media type and bytes of the recording, as it was uploaded."""
        voice = await self._find(name)
        return voice.media_type, await self.library.audio(voice)

    async def preload(self, name: str) -> dict[str, Outcome]:
        """Get a voice ready in every model that clones; says where each found its profile."""
        voice = await self._find(name)
        if not self._cloners:
            raise InvalidRequest(
                "no model of this server clones voices, so there is nothing to prepare",
                code="model_unsuitable",
            )
        outcomes = await asyncio.gather(
            *(pipeline.prepare_voice(voice) for pipeline in self._cloners.values())
        )
        return dict(zip(self._cloners, outcomes, strict=True))

    async def _preload(self, names: Iterable[str]) -> None:
        for name in names:
            await self._prepare(name)

    async def _prepare(self, name: str) -> None:
        try:
            logger.info("voice %s is ready: %s", name, await self.preload(name))
        except Exception:  # a voice that is missing must not keep the others, or the server, from working
            logger.exception(
                "voice %r of `voices.preload` is not ready; its first request will be slow", name
            )

    async def _change(self, work: Callable[[], T]) -> T:
        """Do `work` in a thread; what it changed is known here at once."""
        if self._changes >= CHANGES_AT_ONCE + MAX_WAITING_CHANGES:
            raise Unavailable(
                f"{self._changes} changes of voices wait already; try again shortly",
                code="voice_store_busy",
                retry_after_s=5,
            )
        self._changes += 1
        try:
            result = await self._workers.run(work, within_s=CHANGE_TIMEOUT_S)
        except TimeoutError:
            raise self._store.not_answering(CHANGE_TIMEOUT_S) from None
        finally:
            self._changes -= 1
        with contextlib.suppress(Unavailable):
            await self._registered.refresh()
        return result

    async def _find(self, name: str) -> RegisteredVoice:
        if fold(name) in self._fixed:
            voice = await self._registered.known_once_read(name)
        else:
            voice = await self._registered.find(name)
        if voice is None:
            raise self._missing(name)
        return voice

    def _stored(self, name: str) -> RegisteredVoice:
        """As the store says now: a change must not go to a voice that was called so a second ago. Blocks."""
        try:
            return self._store.find(name)
        except NotFound:
            raise self._missing(name) from None

    def _missing(self, name: str) -> SpeechError:
        if fold(name) in self._fixed:
            return InvalidRequest(
                f"{name!r} is a voice of a model, not an uploaded one", param="voice_id", code="voice_fixed"
            )
        return voice_not_found(name)

    def _refuse_reserved(self, names: Iterable[str]) -> None:
        for name in names:
            if fold(name) in self._fixed or fold(name) in OPENAI_VOICES:
                raise Conflict(
                    f"{name!r} is the name of a voice that this server already offers; choose another",
                    param="name",
                    code="voice_exists",
                )

    def _with_warnings(self, voice: RegisteredVoice) -> RegisteredVoice:
        of_models = (
            f"{name}: {warning}"
            for name, pipeline in self._cloners.items()
            for warning in pipeline.reference_warnings(voice.duration_s)
        )
        unused = (
            ()
            if self._cloners
            else ("No model of this server clones voices; this one waits for such a model.",)
        )
        return replace(voice, warnings=(*voice.warnings, *of_models, *unused))
