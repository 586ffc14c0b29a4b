"""What a client may send in a session (docs/websocket.md)."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deployments.core.errors import InvalidRequest, TooLarge
from serve_app.http.fields import validated, without_nulls
from serve_app.http.schema import SpeechSettings
from serve_app.http.websocket.text_pieces import Granularity

UNSPEAKABLE = re.compile(
    "[\x00\ud800-\udfff]"
)  # half a surrogate pair is what a cut inside a character leaves


class SessionConfig(SpeechSettings):
    """How to speak from the next utterance on: the fields of `POST /v1/audio/speech` without `input`, and two more."""

    split_granularity: Granularity = Field(
        "sentence", description="what is spoken before the text is complete"
    )
    audio_encoding: Literal["binary", "base64"] = Field("binary", description="of the audio frames")

    def ignored(self, of_model: tuple[str, ...] = ()) -> list[str]:
        unused = {"stream_format"} & self.model_fields_set
        return sorted({*super().ignored(of_model), *unused})


class InputText(BaseModel):
    """The next characters of the text, cut anywhere."""

    model_config = ConfigDict(strict=True)

    text: str

    @field_validator("text")
    @classmethod
    def _speakable_characters(cls, text: str) -> str:
        if found := UNSPEAKABLE.search(text):
            raise ValueError(
                f"holds U+{ord(found.group()):04X} at position {found.start()}; send valid Unicode"
            )
        return text


class InputDone(BaseModel):
    """The text is complete; what follows is the next utterance."""


class InputCancel(BaseModel):
    """Stop speaking, forget all text not yet spoken."""


class SessionClose(BaseModel):
    """Speak what there is, then end the session."""


Message = SessionConfig | InputText | InputDone | InputCancel | SessionClose

TYPES: dict[str, type[Message]] = {
    "session.config": SessionConfig,
    "input.text": InputText,
    "input.done": InputDone,
    "input.cancel": InputCancel,
    "session.close": SessionClose,
}


def read_message(frame: dict[str, Any], max_bytes: int) -> Message:
    """The message in one received ASGI frame. Raises SpeechError naming the field at fault."""
    text = frame.get("text")
    if text is None:
        raise InvalidRequest("messages are JSON in text frames; this frame is binary", code="invalid_json")
    # A character has at most four bytes; counting them exactly costs a copy of what may be a recording.
    if len(text) > max_bytes or (len(text) * 4 > max_bytes and len(text.encode()) > max_bytes):
        raise TooLarge(f"the message is larger than {max_bytes} bytes", code="message_too_large")
    content = _read_object(text)
    kind = content.pop("type", None)
    if not isinstance(kind, str) or kind not in TYPES:
        shown = "missing" if kind is None else f"{str(kind)[:60]!r}, which is unknown"
        raise InvalidRequest(f"type: is {shown}; known are {', '.join(TYPES)}", param="type")
    message: Message = validated(without_nulls(content), TYPES[kind])
    return message


def _read_object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the message is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(content, dict):
        raise InvalidRequest(
            f"the message must be a JSON object, not {type(content).__name__}", code="invalid_json"
        )
    return content
