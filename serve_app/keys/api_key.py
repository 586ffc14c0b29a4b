"""API keys: what a client is given once, and what the server keeps of it."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

SECRET_BYTES = 32
_KEY = re.compile(r"vg_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Most = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept. `id` may be logged; of the key itself only a hash is here."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    name: Name  # whose it is, for people
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created_at: int  # unix seconds
    requests_per_minute: Most | None = None  # None: as many as the server takes; so below
    streams: Most | None = None  # spoken at the same time
    characters_per_day: Most | None = None
    speech_only: bool = False  # may not add, change or delete voices

    def opened_by(self, text: str) -> bool:
        """Whether `text` is this key. Takes the same time wherever they differ."""
        return hmac.compare_digest(digest(text), self.sha256)


def new_key(
    name: str,
    *,
    requests_per_minute: int | None = None,
    streams: int | None = None,
    characters_per_day: int | None = None,
    speech_only: bool = False,
) -> tuple[str, ApiKey]:
    """The key for the client, which is not kept anywhere, and what is kept."""
    key_id = secrets.token_hex(4)
    text = f"vg_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    kept = ApiKey(
        key_id,
        name,
        digest(text),
        int(time.time()),
        requests_per_minute,
        streams,
        characters_per_day,
        speech_only,
    )
    return text, kept


def id_of(text: str) -> str | None:
    """The id that a key claims to have; None where it is no key of this server's making."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def digest(text: str) -> str:
    """One round of SHA-256: a key has 256 random bits, so there is nothing to guess that a slow hash would protect."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
