"""Models and voices: GET /v1/models, /v1/audio/models, /v1/audio/voices."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query

from deployments.core.errors import NotFound
from deployments.core.speech import ModelCard, Voice
from serve_app.http.service import SpeechService
from serve_app.router import Catalogue

CREATED = 1_760_000_000  # models have no date of their own; OpenAI's clients expect a number


def catalogue_routes(service: SpeechService) -> APIRouter:
    routes = APIRouter(tags=["catalogue"])

    @routes.get("/v1/models", summary="Models and aliases, in OpenAI's shape")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": _models(await service.catalogue())}

    @routes.get("/v1/models/{name}", summary="One model")
    async def model(name: str) -> dict[str, Any]:
        for entry in _models(await service.catalogue()):
            if entry["id"] == name:
                return entry
        raise NotFound(
            f"model {name!r} does not exist; GET /v1/models lists all", param="model", code="model_not_found"
        )

    @routes.get("/v1/audio/models", summary="Models with what they can do")
    async def audio_models() -> dict[str, Any]:
        catalogue = await service.catalogue()
        cards = [_card(card) for card in catalogue.models]
        return {"object": "list", "models": cards, "data": cards, "default": catalogue.default_model}

    @routes.get("/v1/audio/voices", summary="Voices, with their aliases")
    async def voices(
        model: str | None = Query(None, description="only voices of this model"),
        legacy: bool = Query(False, description="names only, for clients that expect strings"),
    ) -> dict[str, Any]:
        catalogue = await service.catalogue()
        if model is not None and model not in {card.name for card in catalogue.models}:
            raise NotFound(f"model {model!r} does not exist", param="model", code="model_not_found")
        chosen = [
            voice for voice in catalogue.voices if model is None or model in models_of(voice, catalogue)
        ]
        if legacy:
            return {"voices": [voice.id for voice in chosen]}
        listed = [listed_voice(voice, catalogue) for voice in chosen]
        uploaded = [entry for entry, voice in zip(listed, chosen, strict=True) if voice.uploaded]
        return {"object": "list", "voices": listed, "data": listed, "uploaded_voices": uploaded}

    return routes


def _models(catalogue: Catalogue) -> list[dict[str, Any]]:
    own = [{"id": card.name, "description": card.description} for card in catalogue.models]
    aliases = [{"id": alias, "alias_of": target} for alias, target in catalogue.model_aliases.items()]
    return [
        {"object": "model", "created": CREATED, "owned_by": "voicegraph", **entry} for entry in own + aliases
    ]


def _card(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "name": card.name,
        "kind": card.kind,
        "sample_rate": card.sample_rate_hz,
        "languages": list(card.languages),
        "default_voice": card.default_voice,
        "streaming": True,
        "cloning": card.cloning,
        "emotion": card.emotion,
        "description": card.description,
    }


def models_of(voice: Voice, catalogue: Catalogue) -> list[str]:
    """Models that speak with `voice`: its own, or all that clone."""
    return [card.name for card in catalogue.models if card.cloning] if voice.uploaded else [voice.model]


def listed_voice(voice: Voice, catalogue: Catalogue) -> dict[str, Any]:
    models = models_of(voice, catalogue)
    return {
        "id": voice.id,
        "name": voice.name,
        "object": "audio.voice",
        "model": models[0] if models else None,
        "models": models,
        "uploaded": voice.uploaded,
        "language": voice.language,
        "gender": voice.gender,
        "aliases": list(voice.aliases),
    }
