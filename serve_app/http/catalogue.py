"""Models and voices: GET /v1/models, /v1/audio/models, /v1/audio/voices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from deployments.core.catalogue import Catalogue, ModelCard, VoiceCard
from deployments.core.errors import NotFound
from serve_app.http.caller import caller_of
from serve_app.http.service import SpeechService
from serve_app.routing.names import POLICIES, resolve

CREATED = 1_760_000_000  # models have no date of their own; OpenAI's clients expect a number


class ModelEntry(BaseModel):
    """A model, or an alias of one or of a policy, in OpenAI's shape."""

    object: Literal["model"] = "model"
    created: int = CREATED
    owned_by: str = "voicegraph"
    id: str
    description: str | None = None
    alias_of: str | None = None


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelEntry]


class AudioModel(BaseModel):
    """A model with what it can do. `parameters` is the JSON schema of the fields that are the model's own."""

    id: str
    name: str
    kind: str
    sample_rate: int
    languages: list[str]
    default_voice: str
    streaming: bool
    cloning: bool
    cloning_needs_transcript: bool
    emotion: bool
    instructions: bool
    dialogue: bool
    description: str
    qualities: list[str]
    parameters: Mapping[str, Any]


class AudioModelList(BaseModel):
    object: Literal["list"] = "list"
    models: list[AudioModel]
    data: list[AudioModel]
    default: str


class VoiceEntry(BaseModel):
    id: str
    name: str
    object: Literal["audio.voice"] = "audio.voice"
    model: str | None  # the first of `models`
    models: list[str]
    uploaded: bool
    language: str
    gender: str | None
    aliases: list[str]


class VoiceList(BaseModel):
    object: Literal["list"] = "list"
    voices: list[VoiceEntry]
    data: list[VoiceEntry]
    uploaded_voices: list[VoiceEntry]


class VoiceNames(BaseModel):
    """For clients that expect strings."""

    voices: list[str]


def catalogue_routes(service: SpeechService) -> APIRouter:
    routes = APIRouter(tags=["catalogue"])

    @routes.get(
        "/v1/models", summary="Models and aliases, in OpenAI's shape", response_model_exclude_none=True
    )
    async def models() -> ModelList:
        return ModelList(data=_models(await service.catalogue(voices=False)))

    @routes.get("/v1/models/{name}", summary="One model", response_model_exclude_none=True)
    async def model(name: str) -> ModelEntry:
        for entry in _models(await service.catalogue(voices=False)):
            if entry.id == name:
                return entry
        raise NotFound(
            f"model {name!r} does not exist; GET /v1/models lists all", param="model", code="model_not_found"
        )

    @routes.get("/v1/audio/models", summary="Models with what they can do, and their own parameters")
    async def audio_models() -> AudioModelList:
        catalogue = await service.catalogue(voices=False)
        models = [_audio_model(card) for card in catalogue.models]
        return AudioModelList(models=models, data=models, default=catalogue.default_model)

    @routes.get("/v1/audio/voices", summary="Voices, with their aliases")
    async def voices(
        request: Request,
        model: str | None = Query(None, description="only voices of this model; a policy: all"),
        legacy: bool = Query(False, description="names only, for clients that expect strings"),
    ) -> VoiceList | VoiceNames:
        catalogue = await service.catalogue()
        wanted = "auto" if model is None else resolve(model, catalogue.models, catalogue.model_aliases)
        seen = [voice for voice in catalogue.voices if caller_of(request).sees(voice.owner)]
        chosen = [voice for voice in seen if wanted in POLICIES or wanted in models_of(voice, catalogue)]
        if legacy:
            return VoiceNames(voices=[voice.id for voice in chosen])
        listed = [voice_entry(voice, catalogue) for voice in chosen]
        uploaded = [entry for entry in listed if entry.uploaded]
        return VoiceList(voices=listed, data=listed, uploaded_voices=uploaded)

    return routes


def _models(catalogue: Catalogue) -> list[ModelEntry]:
    own = [ModelEntry(id=card.name, description=card.description) for card in catalogue.models]
    aliases = [ModelEntry(id=alias, alias_of=target) for alias, target in catalogue.model_aliases.items()]
    return own + aliases


def _audio_model(card: ModelCard) -> AudioModel:
    return AudioModel(
        id=card.name,
        name=card.name,
        kind=card.kind,
        sample_rate=card.sample_rate_hz,
        languages=list(card.languages),
        default_voice=card.default_voice,
        streaming=True,
        cloning=card.cloning,
        cloning_needs_transcript=card.cloning_needs_transcript,
        emotion=card.emotion,
        instructions=card.instructions,
        dialogue=card.dialogue,
        description=card.description,
        qualities=list(card.presets),
        parameters=card.parameters,
    )


def models_of(voice: VoiceCard, catalogue: Catalogue) -> list[str]:
    """Models that speak with `voice`: its own, or all that clone."""
    return [card.name for card in catalogue.models if card.cloning] if voice.uploaded else [voice.model]


def voice_entry(voice: VoiceCard, catalogue: Catalogue) -> VoiceEntry:
    models = models_of(voice, catalogue)
    return VoiceEntry(
        id=voice.id,
        name=voice.name,
        model=models[0] if models else None,
        models=models,
        uploaded=voice.uploaded,
        language=voice.language,
        gender=voice.gender,
        aliases=list(voice.aliases),
    )
