"""The multipart body of `POST /v1/audio/voices`."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from deployments.core.errors import InvalidRequest, UnsupportedMedia
from serve_app.http.body import read_body

TEXTS = ("name", "consent", "description", "language", "ref_text")
LISTS = ("aliases", "aliases[]")
FILE = "audio_sample"
MAX_PARTS = 64
MAX_TEXT_CHARS = 4096
LANGUAGE = re.compile(r"[a-z]{2}")

FORM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["name", FILE],
    "properties": {
        "name": {"type": "string", "maxLength": 100, "description": "what requests will call the voice"},
        FILE: {
            "type": "string",
            "format": "binary",
            "description": "1 to 30 s of one person speaking, best 5 to 15 s without music; wav, flac, mp3, ogg, "
            "m4a, aac or webm; at most 10 MB",
        },
        "consent": {
            "type": "string",
            "description": "who agreed to the cloning, or the id of a record of it",
        },
        "description": {"type": "string", "maxLength": MAX_TEXT_CHARS},
        "language": {"type": "string", "pattern": "^[a-z]{2}$", "description": "ISO 639-1"},
        "ref_text": {
            "type": "string",
            "maxLength": MAX_TEXT_CHARS,
            "description": "what is said in the recording",
        },
        "aliases": {
            "type": "array",
            "items": {"type": "string"},
            "description": "further names; also as one part, separated by commas",
        },
    },
}


@dataclass(frozen=True)
class VoiceForm:
    audio: bytes
    fields: dict[str, Any]  # arguments of VoiceDesk.register
    ignored: tuple[str, ...]


async def read_voice_form(request: Request, max_bytes: int) -> VoiceForm:
    """Raises SpeechError naming the part at fault, TooLarge as soon as the body is known to be so."""
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise UnsupportedMedia(
            f"the body must be multipart/form-data with the parts name and {FILE}, not {kind or 'untyped'!r}"
        )
    body = await read_body(request, max_bytes)
    parser = MultiPartParser(request.headers, _once(body), max_files=MAX_PARTS, max_fields=MAX_PARTS)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        reason = getattr(error, "message", "") or "it has no boundary, or its names are not UTF-8"
        raise InvalidRequest(f"the multipart body cannot be read: {reason}", code="invalid_form") from None
    try:
        return await _voice_form(form)
    finally:
        await form.close()


async def _voice_form(form: FormData) -> VoiceForm:
    texts = {name: _text(form, name) for name in TEXTS}
    if not texts["name"]:
        raise InvalidRequest("name: is missing; it is what requests will call the voice", param="name")
    if texts["language"]:
        check_language(texts["language"])
    if len(texts["ref_text"]) > MAX_TEXT_CHARS:
        raise InvalidRequest(f"ref_text: has more than {MAX_TEXT_CHARS} characters", param="ref_text")
    aliases = [
        alias for part in LISTS for text in _texts(form, part) for alias in text.split(",") if alias.strip()
    ]
    audio = await _audio(form)
    known = {*TEXTS, *LISTS, FILE}
    fields = {**texts, "reference_text": texts["ref_text"], "aliases": aliases}
    fields.pop("ref_text")
    return VoiceForm(audio, fields, tuple(sorted(set(form) - known)))


def check_language(language: str) -> None:
    if not LANGUAGE.fullmatch(language):
        raise InvalidRequest(
            f"language: {language[:20]!r} is not a code of ISO 639-1 such as en or zh", param="language"
        )


async def _audio(form: FormData) -> bytes:
    found = form.getlist(FILE)
    if len(found) != 1 or not isinstance(found[0], UploadFile):
        fault = (
            "is missing" if not found else "is given more than once" if len(found) > 1 else "must be a file"
        )
        raise InvalidRequest(f"{FILE}: {fault}; send one recording", param=FILE)
    return await found[0].read()


def _text(form: FormData, name: str) -> str:
    found = _texts(form, name)
    if len(found) > 1:
        raise InvalidRequest(f"{name}: is given more than once", param=name)
    return found[0] if found else ""


def _texts(form: FormData, name: str) -> list[str]:
    found = form.getlist(name)
    if any(isinstance(value, UploadFile) for value in found):
        raise InvalidRequest(f"{name}: must be text, not a file", param=name)
    return [str(value) for value in found]


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
