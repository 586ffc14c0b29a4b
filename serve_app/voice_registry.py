"""Uploaded voices: kept in one store, offered by every model that clones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from deployments.core.errors import Conflict, InvalidRequest, NotFound, SpeechError
from deployments.core.pipeline import CloningPipeline, Pipeline
from deployments.core.speech import ANY_LANGUAGE, Voice
from deployments.voices.library import Outcome, VoiceLibrary
from deployments.voices.store import VoiceStore
from deployments.voices.voice import Voice as RegisteredVoice
from deployments.voices.voice import fold
from serve_app.config import OPENAI_VOICES, VoiceSettings

logger = logging.getLogger("ray.serve")


def listed(voice: RegisteredVoice) -> Voice:
    """An uploaded voice as one among those of the models."""
    language = voice.language or ANY_LANGUAGE
    return Voice(voice.id, voice.name, "", language, uploaded=True, aliases=voice.aliases)


class VoiceDesk:
    """One per router process; several share a store. Raises SpeechError with what HTTP answers."""

    def __init__(self, settings: VoiceSettings, pipelines: Mapping[str, Pipeline]) -> None:
        self._settings = settings
        self._pipelines = pipelines
        self._store = VoiceStore(settings.url, max_voices=settings.max_voices)
        self.library = VoiceLibrary(self._store, ram_bytes=settings.ram_bytes)
        self._cloners = {
            name: cast(CloningPipeline, pipeline)
            for name, pipeline in pipelines.items()
            if pipeline.card.cloning
        }
        for pipeline in self._cloners.values():
            pipeline.use_library(self.library)
        self._preloading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Get the voices ready that the configuration names, while requests are served."""
        self._preloading = asyncio.create_task(self._preload(self._settings.preload))

    @property
    def cloning_models(self) -> frozenset[str]:
        return frozenset(self._cloners)

    async def voices(self) -> list[Voice]:
        """As listed to clients, oldest first."""
        return [listed(voice) for voice in await asyncio.to_thread(self._store.list)]

    async def owners(self, name: str) -> frozenset[str] | None:
        """Models that speak with the uploaded voice `name`; None if there is no such voice."""
        try:
            await self.library.find(name)
        except NotFound:
            return None
        return self.cloning_models

    async def register(
        self,
        audio: bytes,
        *,
        name: str,
        description: str = "",
        language: str = "",
        consent: str = "",
        reference_text: str = "",
        aliases: Sequence[str] = (),
    ) -> RegisteredVoice:
        """Keep a recording as a voice; its `warnings` say what the models that clone will not hear of it."""
        await self._refuse_reserved((name, *aliases))
        voice = await asyncio.to_thread(
            self._store.register,
            audio,
            name=name,
            description=description,
            language=language,
            consent=consent,
            reference_text=reference_text,
            aliases=aliases,
        )
        return self._with_warnings(voice)

    async def get(self, name: str) -> RegisteredVoice:
        """The uploaded voice of that id, name or alias."""
        return self._with_warnings(await self._find(name))

    async def update(
        self,
        name: str,
        *,
        new_name: str | None = None,
        description: str | None = None,
        language: str | None = None,
        aliases: Sequence[str] | None = None,
    ) -> RegisteredVoice:
        """Change what is not None."""
        voice = await self._find(name)
        await self._refuse_reserved((*([] if new_name is None else [new_name]), *(aliases or ())))
        changed = await asyncio.to_thread(
            self._store.update,
            voice.id,
            name=new_name,
            description=description,
            language=language,
            aliases=aliases,
        )
        return self._with_warnings(changed)

    async def delete(self, name: str) -> str:
        """Delete a voice with its recording and profiles; gives its id."""
        try:
            voice_id = (await self._find(name)).id
        except SpeechError as error:
            if error.code != "voice_damaged":
                raise
            voice_id = name
        await self.library.delete(voice_id)
        return voice_id

    async def sample(self, name: str) -> tuple[str, bytes]:
        """Media type and bytes of the recording, as it was uploaded."""
        voice = await self._find(name)
        return voice.media_type, await asyncio.to_thread(self._store.audio, voice)

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

    async def _find(self, name: str) -> RegisteredVoice:
        try:
            return await self.library.find(name)
        except NotFound:
            if fold(name) in await self._fixed_names():
                raise InvalidRequest(
                    f"{name!r} is a voice of a model, not an uploaded one",
                    param="voice_id",
                    code="voice_fixed",
                ) from None
            raise

    async def _fixed_names(self) -> set[str]:
        """Everything that a voice of a model is called."""
        voices = [voice for pipeline in self._pipelines.values() for voice in await pipeline.voices()]
        return {fold(name) for voice in voices for name in (voice.id, *voice.aliases)}

    async def _refuse_reserved(self, names: Iterable[str]) -> None:
        reserved = {*OPENAI_VOICES, *(await self._fixed_names())}
        for name in names:
            if fold(name) in reserved:
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
