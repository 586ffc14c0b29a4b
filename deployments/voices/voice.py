"""A registered voice: the manifest that the store keeps beside the original recording."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import secrets
import unicodedata
from dataclasses import dataclass

from deployments.core.errors import InvalidRequest

MAX_NAME_CHARS = 100
MAX_TEXT_CHARS = 4096
MAX_ALIASES = 16
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Voice:
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

    def __post_init__(self) -> None:
        check_id(self.id)
        object.__setattr__(self, "name", clean_name(self.name, "name"))
        if len(self.aliases) > MAX_ALIASES:
            raise InvalidRequest(f"A voice has at most {MAX_ALIASES} aliases.", param="aliases")
        aliases = (clean_name(alias, "aliases") for alias in self.aliases)
        object.__setattr__(self, "aliases", tuple(dict.fromkeys(aliases)))
        object.__setattr__(self, "warnings", tuple(self.warnings))
        for field in ("description", "language", "consent", "reference_text"):
            _check_text(getattr(self, field), field)

    @property
    def names(self) -> tuple[str, ...]:
        """Everything a request may call this voice by."""
        return (self.id, self.name, *self.aliases)

    def is_called(self, name: str) -> bool:
        return fold(name) in {fold(own) for own in self.names}

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), indent=1).encode()

    @staticmethod
    def from_json(data: bytes) -> Voice:
        """Fields written by a later version are ignored. Raises ValueError for a damaged manifest."""
        try:
            values = json.loads(data)
            known = {field.name for field in dataclasses.fields(Voice)}
            return Voice(**{name: value for name, value in values.items() if name in known})
        except (ValueError, TypeError, AttributeError, InvalidRequest) as error:
            raise ValueError(f"damaged manifest of a voice: {error}") from error


def new_id() -> str:
    return f"voice_{secrets.token_hex(8)}"


def check_id(voice_id: str) -> None:
    if not _ID.fullmatch(voice_id):
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


def fold(name: str) -> str:
    """Names that differ only in case, or in how an accent is written, are the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).strip().casefold())


def name_hash(name: str) -> str:
    return hashlib.sha256(fold(name).encode("utf-8", "surrogatepass")).hexdigest()


def _check_text(text: str, param: str) -> None:
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidRequest(f"{param} has {len(text)} characters; at most {MAX_TEXT_CHARS}.", param=param)
