"""Uploaded voices: POST /v1/audio/voices, and one voice below it. The list is in catalogue.py."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from deployments.core.errors import InvalidRequest
from deployments.voices.voice import Voice as RegisteredVoice
from serve_app.config import HttpSettings
from serve_app.http.body import json_schema, parse_body, read_body
from serve_app.http.catalogue import listed_voice
from serve_app.http.ignored import ignored_header
from serve_app.http.service import SpeechService
from serve_app.http.voice_form import FORM_SCHEMA, MAX_TEXT_CHARS, check_language, read_voice_form
from serve_app.router import Catalogue
from serve_app.voice_registry import listed

FAULTS: dict[int | str, dict[str, Any]] = {
    400: {"description": "A field or the recording cannot be used; the message says why"},
    404: {"description": "There is no such voice"},
    409: {"description": "The name is taken"},
    413: {"description": "The recording is larger than 10 MB"},
    415: {"description": "The file is not audio that can be read"},
}


class VoiceChanges(BaseModel):
    """The body of PATCH; what is absent stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = Field(None, max_length=100)
    description: str | None = Field(None, max_length=MAX_TEXT_CHARS)
    language: str | None = Field(None, description="ISO 639-1; empty: not known")
    aliases: list[Annotated[str, Field(max_length=100)]] | None = Field(
        None, description="replaces all aliases"
    )


def voice_routes(service: SpeechService, settings: HttpSettings) -> APIRouter:
    routes = APIRouter(tags=["voices"])

    @routes.post(
        "/v1/audio/voices",
        summary="Register a recording as a voice",
        responses=_only(400, 409, 413, 415),
        openapi_extra={"requestBody": _body("multipart/form-data", FORM_SCHEMA)},
    )
    async def register(request: Request) -> JSONResponse:
        form = await read_voice_form(request, settings.max_body_bytes)
        voice = await service.register_voice(form.audio, **form.fields)
        return JSONResponse(_voice(voice, await service.catalogue()), headers=ignored_header(form.ignored))

    @routes.get(
        "/v1/audio/voices/{voice_id}", summary="One voice, by id, name or alias", responses=_only(404)
    )
    async def voice(voice_id: str) -> dict[str, Any]:
        catalogue = await service.catalogue()
        for known in catalogue.voices:
            if not known.uploaded and voice_id in (known.id, *known.aliases):
                return listed_voice(known, catalogue)
        return _voice(await service.registered_voice(voice_id), catalogue)

    @routes.patch(
        "/v1/audio/voices/{voice_id}",
        summary="Change what an uploaded voice is called, and its description",
        responses=_only(400, 404, 409),
        openapi_extra={"requestBody": _body("application/json", json_schema(VoiceChanges))},
    )
    async def update(voice_id: str, request: Request) -> dict[str, Any]:
        changes = parse_body(await read_body(request, settings.max_body_bytes), VoiceChanges)
        if not changes.model_fields_set:
            fields = ", ".join(VoiceChanges.model_fields)
            raise InvalidRequest(f"the body names nothing to change; it may hold {fields}")
        if changes.language:
            check_language(changes.language)
        voice = await service.update_voice(
            voice_id,
            new_name=changes.name,
            description=changes.description,
            language=changes.language,
            aliases=changes.aliases,
        )
        return _voice(voice, await service.catalogue())

    @routes.delete(
        "/v1/audio/voices/{voice_id}",
        summary="Delete an uploaded voice, its recording and everything made of it",
        responses=_only(400, 404),
    )
    async def delete(voice_id: str) -> dict[str, Any]:
        deleted = await service.delete_voice(voice_id)
        return {"object": "audio.voice.deleted", "id": deleted, "deleted": True}

    @routes.get(
        "/v1/audio/voices/{voice_id}/sample",
        summary="The recording of an uploaded voice",
        response_class=Response,
        responses={200: {"content": {"audio/*": {}}}, **_only(400, 404)},
    )
    async def sample(voice_id: str) -> Response:
        media_type, data = await service.voice_sample(voice_id)
        # The bytes come from a stranger: a browser must not guess that they are something else.
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache"}
        return Response(data, media_type=media_type, headers=headers)

    @routes.post(
        "/v1/audio/voices/{voice_id}/preload",
        summary="Get an uploaded voice ready in every model that clones",
        responses=_only(400, 404),
    )
    async def preload(voice_id: str) -> dict[str, Any]:
        outcomes = await service.preload_voice(voice_id)
        voice = await service.registered_voice(voice_id)
        return {"object": "audio.voice.preloaded", "id": voice.id, "models": outcomes}

    return routes


def _voice(voice: RegisteredVoice, catalogue: Catalogue) -> dict[str, Any]:
    """OpenAI's shape, and what else is known. `warnings` say what may sound wrong."""
    return {
        **listed_voice(listed(voice), catalogue),
        "created_at": voice.created_at,
        "description": voice.description,
        "consent": voice.consent,
        "ref_text": voice.reference_text,
        "duration": voice.duration_s,
        "sample_rate": voice.sample_rate_hz,
        "media_type": voice.media_type,
        "warnings": list(voice.warnings),
    }


def _only(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: FAULTS[status] for status in statuses}


def _body(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema}}}
