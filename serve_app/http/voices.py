"""Uploaded voices: POST /v1/audio/voices, and one voice below it. The list is in catalogue.py."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.core.catalogue import Catalogue
from deployments.core.errors import InvalidRequest, UnsupportedMedia
from deployments.voices.library import Outcome
from deployments.voices.registered_voice import (
    MAX_NAME_CHARS,
    NewVoice,
    RegisteredVoice,
    VoiceChanges,
    voice_not_found,
)
from serve_app.http.byte_ranges import file_response
from serve_app.http.caller import caller_of
from serve_app.http.catalogue import VoiceEntry, voice_entry
from serve_app.http.fields import MAX_TEXT_CHARS, VoiceLanguage, without_nulls
from serve_app.http.headers import ignored_header
from serve_app.http.service import SpeechService

LISTS = ("aliases", "aliases[]")
NEEDED = ("name", "audio_sample")
NULLS = ("null", "undefined")
FAULTS: dict[int | str, dict[str, Any]] = {
    400: {"description": "A field or the recording cannot be used; the message says why"},
    404: {"description": "There is no such voice"},
    409: {"description": "The name is taken"},
    413: {"description": "The recording is larger than 10 MB"},
    415: {"description": "The file is not audio that can be read"},
    503: {"description": "The place where voices are kept cannot be reached or written"},
}


class VoiceForm(BaseModel):
    """The multipart body of an upload."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(
        description="what requests will call the voice", json_schema_extra={"maxLength": MAX_NAME_CHARS}
    )
    audio_sample: UploadFile = Field(
        description="1 to 30 s of one person speaking, best 5 to 15 s without music; wav, flac, mp3, ogg, m4a, aac or "
        "webm; at most 10 MB",
        json_schema_extra={"format": "binary"},  # what tools know a file by
    )
    consent: str = Field("", description="who agreed to the cloning, or the id of a record of it")
    description: str = Field("", max_length=MAX_TEXT_CHARS)
    language: VoiceLanguage = ""
    ref_text: str = Field("", max_length=MAX_TEXT_CHARS, description="what is said in the recording")
    aliases: list[str] = Field([], description="further names; also as one part, separated by commas")
    php_aliases: list[str] = Field([], alias="aliases[]", description="the same, as some clients write lists")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, values: Any) -> Any:
        """A browser's FormData makes these words of null and undefined."""
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if name in NEEDED or value not in NULLS}

    def new_voice(self, audio: bytes, owner: str) -> NewVoice:
        written = (alias for part in (*self.aliases, *self.php_aliases) for alias in part.split(","))
        return NewVoice(
            audio=audio,
            name=self.name,
            description=self.description,
            language=self.language,
            consent=self.consent,
            reference_text=self.ref_text,
            aliases=tuple(alias for alias in written if alias.strip() not in ("", *NULLS)),
            owner=owner,
        )


class VoicePatch(BaseModel):
    """The body of PATCH; what is absent stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = Field(None, max_length=100)
    description: str | None = Field(None, max_length=MAX_TEXT_CHARS)
    language: VoiceLanguage | None = Field(None, description="ISO 639-1; empty: not known")
    aliases: list[Annotated[str, Field(max_length=100)]] | None = Field(
        None, description="replaces all aliases"
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, values: Any) -> Any:
        return without_nulls(values)

    def changes(self) -> VoiceChanges:
        """Raises InvalidRequest if nothing is named."""
        if not self.model_fields_set:
            fields = ", ".join(type(self).model_fields)
            raise InvalidRequest(f"the body names nothing to change; it may hold {fields}")
        return VoiceChanges(
            name=self.name,
            description=self.description,
            language=self.language,
            aliases=None if self.aliases is None else tuple(self.aliases),
        )


class UploadedVoice(VoiceEntry):
    """OpenAI's shape, and what else is known. `warnings` say what may sound wrong."""

    created_at: int
    description: str
    consent: str
    ref_text: str
    duration: float
    sample_rate: int
    media_type: str
    warnings: list[str]


class DeletedVoice(BaseModel):
    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"
    id: str
    deleted: bool = True


class PreloadedVoice(BaseModel):
    """`models`: where each model that clones found the voice's profile; "miss": it was encoded now."""

    object: Literal["audio.voice.preloaded"] = "audio.voice.preloaded"
    id: str
    models: dict[str, Outcome]


def voice_routes(service: SpeechService) -> APIRouter:
    routes = APIRouter(tags=["voices"])

    async def reachable(request: Request, name: str) -> str:
        """What to call a voice by that belongs to the caller or to everybody. Raises NotFound."""
        caller = caller_of(request)
        if not caller.private_voices:
            return name
        voice = await service.registered_voice(name)
        if not caller.sees(voice.owner):
            raise voice_not_found(name)
        return voice.id  # the name may be another's a moment later

    @routes.post(
        "/v1/audio/voices",
        summary="Register a recording as a voice",
        responses=_only(400, 409, 413, 415, 503),
        dependencies=[Depends(_check_form)],
    )
    async def register(
        form: Annotated[VoiceForm, Form(media_type="multipart/form-data")],
        request: Request,
        response: Response,
    ) -> UploadedVoice:
        owner = caller_of(request).key_id or ""
        voice = await service.register_voice(form.new_voice(await form.audio_sample.read(), owner))
        response.headers.update(ignored_header(sorted(form.model_extra or {})))
        return _uploaded(voice, await service.catalogue(voices=False))

    @routes.get(
        "/v1/audio/voices/{voice_id}", summary="One voice, by id, name or alias", responses=_only(404)
    )
    async def voice(voice_id: str, request: Request) -> UploadedVoice | VoiceEntry:
        catalogue = await service.catalogue()
        for known in catalogue.voices:
            if not known.uploaded and known.spelled(voice_id) is not None:
                return voice_entry(known, catalogue)
        return _uploaded(await service.registered_voice(await reachable(request, voice_id)), catalogue)

    @routes.patch(
        "/v1/audio/voices/{voice_id}",
        summary="Change what an uploaded voice is called, and its description",
        responses=_only(400, 404, 409, 503),
    )
    async def update(voice_id: str, patch: VoicePatch, request: Request) -> UploadedVoice:
        voice = await service.update_voice(await reachable(request, voice_id), patch.changes())
        return _uploaded(voice, await service.catalogue(voices=False))

    @routes.delete(
        "/v1/audio/voices/{voice_id}",
        summary="Delete an uploaded voice, its recording and everything made of it",
        responses=_only(400, 404, 503),
    )
    async def delete(voice_id: str, request: Request) -> DeletedVoice:
        return DeletedVoice(id=await service.delete_voice(await reachable(request, voice_id)))

    @routes.get(
        "/v1/audio/voices/{voice_id}/sample",
        summary="The recording of an uploaded voice",
        response_class=Response,
        responses={
            200: {"content": {"audio/*": {}}},
            206: {"description": "The part that Range names", "content": {"audio/*": {}}},
            416: {"description": "The recording has no such part"},
            **_only(400, 404, 503),
        },
    )
    async def sample(voice_id: str, request: Request) -> Response:
        media_type, data = await service.voice_sample(await reachable(request, voice_id))
        # The bytes come from a stranger: a browser must not guess that they are something else.
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache"}
        etag = hashlib.sha256(data).hexdigest()[:32]
        return file_response(request, data, media_type, etag, headers)

    @routes.post(
        "/v1/audio/voices/{voice_id}/preload",
        summary="Get an uploaded voice ready in every model that clones",
        responses=_only(400, 404, 503),
    )
    async def preload(voice_id: str, request: Request) -> PreloadedVoice:
        voice_id = await reachable(request, voice_id)
        outcomes = await service.preload_voice(voice_id)
        voice = await service.registered_voice(voice_id)
        return PreloadedVoice(id=voice.id, models=outcomes)

    return routes


async def _check_form(request: Request) -> None:
    """What FastAPI's own reading of forms would pass over or call by names that help nobody."""
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise UnsupportedMedia(
            f"the body must be multipart/form-data with the parts name and audio_sample, not {kind or 'untyped'!r}"
        )
    form = await request.form()
    counts = Counter(name for name, _ in form.multi_items())
    for name, count in counts.items():
        if count > 1 and name not in LISTS and name in VoiceForm.model_fields:
            raise InvalidRequest(f"{name}: is given more than once", param=name)
    if form.get("name") in ("", None, *NULLS):
        raise InvalidRequest("name: is missing; it is what requests will call the voice", param="name")
    if "audio_sample" not in form:
        raise InvalidRequest("audio_sample: is missing; send one recording", param="audio_sample")
    for name, value in form.multi_items():
        if isinstance(value, str) == (name == "audio_sample"):
            wanted = "a file" if name == "audio_sample" else "text, not a file"
            if name in (*VoiceForm.model_fields, *LISTS):
                raise InvalidRequest(f"{name}: must be {wanted}", param=name)


def _uploaded(voice: RegisteredVoice, catalogue: Catalogue) -> UploadedVoice:
    return UploadedVoice(
        **voice_entry(voice.card, catalogue).model_dump(),
        created_at=voice.created_at,
        description=voice.description,
        consent=voice.consent,
        ref_text=voice.reference_text,
        duration=voice.duration_s,
        sample_rate=voice.sample_rate_hz,
        media_type=voice.media_type,
        warnings=list(voice.warnings),
    )


def _only(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: FAULTS[status] for status in statuses}
