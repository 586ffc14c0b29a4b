"""Registered voices: what is asked for, and the manifest that the store keeps beside the original recording."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from functools import cache

from pydantic import TypeAdapter, ValidationError

from deployments.core.catalogue import ANY_LANGUAGE, VoiceCard, fold
from deployments.core.errors import InvalidRequest, NotFound, SpeechError

MAX_NAME_CHARS = 100
MAX_TEXT_CHARS = 4096
MAX_ALIASES = 16
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


UNUSED_TRANSCRIPT = (
    "The transcript is not used: it says more than is heard in the part of the recording that is used. Send that part "
    "alone, with what is said in it."
)


class VoiceDamaged(SpeechError):
    """What the store holds of a voice cannot be used."""

    default_code = "voice_damaged"


@dataclass(frozen=True, slots=True)
class NewVoice:
    """A voice to be registered. `consent` says who agreed to the cloning, as text or as the id of a record."""

    audio: bytes = field(repr=False)  # the recording, as it was sent
    name: str
    description: str = ""
    language: str = ""  # ISO 639-1; empty: not known
    consent: str = ""
    reference_text: str = ""  # what is said in the recording
    aliases: tuple[str, ...] = ()
    owner: str = ""  # the id of the API key that it came with


@dataclass(frozen=True, slots=True)
class VoiceChanges:
    """What a registered voice shall be instead; None leaves it as it is."""

    name: str | None = None
    description: str | None = None
    language: str | None = None
    aliases: tuple[str, ...] | None = None  # in place of all the present ones


@dataclass(frozen=True)
class RegisteredVoice:
    """`sha256` is the hash of the original recording; `revision` counts changes, from 1."""

    id: str
    name: str
    sha256: str
    media_type: str
    created_at: int  # unix seconds
    duration_s: float
    sample_rate_hz: int
    description: str = ""
    language: str = ""
    consent: str = ""
    reference_text: str = ""
    aliases: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    revision: int = 1
    owner: str = ""

    def __post_init__(self) -> None:
        check_id(self.id)
        object.__setattr__(self, "name", clean_name(self.name, "name"))
        if len(self.aliases) > MAX_ALIASES:
            raise InvalidRequest(f"A voice has at most {MAX_ALIASES} aliases.", param="aliases")
        aliases = (clean_name(alias, "aliases") for alias in self.aliases)
        object.__setattr__(self, "aliases", tuple(dict.fromkeys(aliases)))
        object.__setattr__(self, "warnings", tuple(self.warnings))
        for text in ("description", "language", "consent", "reference_text"):
            _check_text(getattr(self, text), text)

    @property
    def names(self) -> tuple[str, ...]:
        """Everything a request may call this voice by."""
        return (self.id, self.name, *self.aliases)

    @property
    def card(self) -> VoiceCard:
        """As listed to clients, for every model that clones."""
        language = self.language or ANY_LANGUAGE
        return VoiceCard(
            self.id, self.name, "", language, uploaded=True, aliases=self.aliases, owner=self.owner
        )

    def is_called(self, name: str) -> bool:
        return fold(name) in {fold(own) for own in self.names}

    def changed(self, changes: VoiceChanges) -> RegisteredVoice:
        """Raises InvalidRequest."""
        given = {name: value for name, value in dataclasses.asdict(changes).items() if value is not None}
        return dataclasses.replace(self, revision=self.revision + 1, **given)

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), indent=1).encode()

    @staticmethod
    def from_json(data: bytes) -> RegisteredVoice:
        """Fields written by a later version are ignored. Raises ValueError for a damaged manifest."""
        try:
            return _manifests().validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "manifest"
            raise ValueError(f"{place}: {first['msg']}") from error
        except InvalidRequest as error:
            raise ValueError(error.message) from error


@cache
def _manifests() -> TypeAdapter[RegisteredVoice]:
    return TypeAdapter(RegisteredVoice)


def new_id() -> str:
    return f"voice_{secrets.token_hex(8)}"


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def check_id(voice_id: str) -> None:
    if not is_id(voice_id):
        raise InvalidRequest(
            f"{voice_id[:80]!r} cannot be the id of a voice: 1 to 64 letters, digits, - and _, "
            "starting with a letter or digit.",
            param="voice_id",
        )


def clean_name(name: str, param: str) -> str:
    """`name` in normal form NFC, without surrounding blanks. Raises InvalidRequest where it is no name."""
    name = unicodedata.normalize("NFC", name).strip()
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise InvalidRequest(
            f"{name[:80]!r} cannot be the name of a voice: 1 to {MAX_NAME_CHARS} printable characters.",
            param=param,
        )
    return name


def name_hash(name: str) -> str:
    return hashlib.sha256(fold(name).encode("utf-8", "surrogatepass")).hexdigest()


def _check_text(text: str, param: str) -> None:
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidRequest(f"{param} has {len(text)} characters; at most {MAX_TEXT_CHARS}.", param=param)


def voice_not_found(name: str) -> NotFound:
    return NotFound(
        f"There is no voice {name[:80]!r}. GET /v1/audio/voices lists them.", code="voice_not_found"
    )
