"""Types and checks of fields that several bodies share, and telling a client which of its fields changed nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, WithJsonSchema

from deployments.core.errors import InvalidRequest
from deployments.core.settings import invalid
from deployments.voices.data_url import read_data_url

Body = TypeVar("Body", bound=BaseModel)

MAX_TEXT_CHARS = 4096  # of texts beside the input: instructions, descriptions, transcripts
MAX_NAMED = 20
_LANGUAGE_SCHEMA = {"type": "string", "pattern": "^[a-z]{2}$", "description": "ISO 639-1"}
DATA_URL = "data:audio/…;base64,…"


def _voice_name(value: object) -> object:
    """OpenAI's clients send a voice as a name or as {"id": name}."""
    if isinstance(value, dict) and set(value) == {"id"}:
        return value["id"]
    return value


VoiceName = Annotated[str, BeforeValidator(_voice_name), Field(min_length=1, max_length=200)]


def _language(value: str) -> str:
    if not re.fullmatch(r"[a-z]{2}", value):
        raise ValueError(f"{value[:20]!r} is not a code of ISO 639-1 such as en or zh")
    return value


Language = Annotated[str, AfterValidator(_language), WithJsonSchema(_LANGUAGE_SCHEMA)]
# Of a voice: empty where it is not known. One type and not a union, whose parts an error would name.
VoiceLanguage = Annotated[
    str,
    AfterValidator(lambda value: value and _language(value)),
    WithJsonSchema({**_LANGUAGE_SCHEMA, "pattern": "^([a-z]{2})?$"}),
]


def validated(content: Mapping[str, Any], model: type[Body]) -> Body:
    """`content` as a `model`. Raises InvalidRequest naming the field at fault."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise invalid(error) from None


def read_recording(value: str, param: str) -> bytes:
    """The bytes of a `data:` URL, not yet decoded. Raises SpeechError naming `param`."""
    if value[:5].lower() != "data:":
        raise InvalidRequest(
            f"{param}: only {DATA_URL} is accepted, with the recording inside; this server fetches no "
            "addresses and opens no files that a request names. A voice that is used again is best registered once: "
            "POST /v1/audio/voices",
            param=param,
        )
    return read_data_url(value, param=param)


def ignored_names(names: Iterable[str]) -> list[str]:
    """Each once, in ASCII and short: field names of a client may be anything."""
    return [ascii(name)[1:-1][:60] for name in list(dict.fromkeys(names))[:MAX_NAMED]]


def ignored_header(names: Iterable[str]) -> dict[str, str]:
    """`X-Ignored-Fields`, or nothing where every field counted."""
    shown = ", ".join(ignored_names(names))
    return {"X-Ignored-Fields": shown} if shown else {}
