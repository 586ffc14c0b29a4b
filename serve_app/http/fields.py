"""Types and checks of fields that several bodies share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, WithJsonSchema

from deployments.core.errors import InvalidRequest
from deployments.core.settings import invalid
from deployments.text.language_names import language_code
from deployments.voices.data_url import read_data_url

Body = TypeVar("Body", bound=BaseModel)

MAX_TEXT_CHARS = 4096  # of texts beside the input: instructions, descriptions, transcripts
MAX_LANGUAGE_CHARS = 60
AUTO = "auto"  # a language that is to be told from the text
WHOLE = re.compile(r"[+-]?\d{1,20}", re.ASCII)
DECIMAL = re.compile(r"[+-]?\d{0,20}\.?\d{1,20}", re.ASCII)
DATA_URL = "data:audio/…;base64,…"


def _voice_name(value: object) -> object:
    """OpenAI's clients send a voice as a name or as {"id": name}."""
    if isinstance(value, dict) and set(value) == {"id"}:
        return value["id"]
    return value


VoiceName = Annotated[str, BeforeValidator(_voice_name), Field(min_length=1, max_length=200)]


def _voice_language(value: str) -> str:
    if not value.strip() or value.strip().lower() == AUTO:
        return ""
    code = language_code(value[:MAX_LANGUAGE_CHARS])
    if code is None:
        raise ValueError(
            f"{value[:20]!r} is no language that is known here; send a code or tag such as en or zh-CN"
        )
    return code


# What models speak is known to the router, which reads the name and says what is served.
Language = Annotated[
    str,
    Field(
        max_length=MAX_LANGUAGE_CHARS,
        description="a code, tag or name: en, en-US, English; auto: told from the script",
    ),
]
# Of a voice: a code of ISO 639-1, empty where it is not known. One type and no union, whose parts an error would name.
VoiceLanguage = Annotated[
    str,
    AfterValidator(_voice_language),
    WithJsonSchema({"type": "string", "description": "a code, tag or name: en, en-US, English"}),
]


def _number(value: object) -> object:
    """A number in a string, as some of OpenAI's clients send it. What is none is left for the error to name."""
    if not isinstance(value, str):
        return value
    if WHOLE.fullmatch(value.strip()):
        return int(value)
    return float(value) if DECIMAL.fullmatch(value.strip()) else value


Decimal = Annotated[float, BeforeValidator(_number)]
Whole = Annotated[int, BeforeValidator(_number)]


def without_nulls(content: Any) -> Any:
    """An object without its fields that are null, which means absent everywhere; anything else as it is."""
    if not isinstance(content, dict):
        return content
    return {name: value for name, value in content.items() if value is not None}


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
