"""`data:` URLs, by which a request carries a one-off reference recording."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from deployments.core.errors import InvalidRequest, TooLarge, UnsupportedMedia
from deployments.voices.decode import MAX_BYTES

_PREFIX = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*)(;base64)?,", re.IGNORECASE | re.ASCII)
# Browsers label recordings of the microphone as video too; what counts is what the bytes turn out to be.
_TYPES = re.compile(r"audio/.+|video/(webm|mp4|ogg)|application/(ogg|octet-stream)")
# Decoded at a time; a multiple of 4. No other thread of the process runs during one call, which for a whole recording
# would take a third of a second.
_PIECE_CHARS = 65_536


def read_data_url(url: str, *, param: str = "ref_audio") -> bytes:
    """The bytes of `data:audio/...;base64,...`. Raises InvalidRequest, UnsupportedMedia or TooLarge."""
    prefix = _PREFIX.match(url[:1000])
    if not prefix or not prefix[3]:
        raise InvalidRequest(
            "The reference must be a data URL of the form data:audio/wav;base64,<base64>.", param=param
        )
    media_type = (prefix[1] or "").lower()
    if not _TYPES.fullmatch(media_type):
        raise UnsupportedMedia(
            f"The data URL is of type {media_type or 'text/plain'}, not audio.", param=param
        )
    body = url[prefix.end() :]
    # Before it is decoded: percent signs may triple the length, base64 adds a third.
    if len(body) > MAX_BYTES * 4 / 3 * (3 if "%" in body else 1) + 4:
        raise TooLarge(
            f"The reference recording is larger than {MAX_BYTES / 1e6:g} MB.",
            param=param,
            code="audio_too_large",
        )
    try:
        return _decoded(unquote_to_bytes(body) if "%" in body else body.encode("ascii"))
    except (binascii.Error, ValueError):
        raise InvalidRequest("The data URL's content is not valid base64.", param=param) from None


def _decoded(text: bytes) -> bytes:
    padding = text.find(b"=")
    if 0 <= padding < len(text) - 2:
        raise binascii.Error("padding inside")
    pieces = range(0, len(text), _PIECE_CHARS)
    return b"".join(base64.b64decode(text[at : at + _PIECE_CHARS], validate=True) for at in pieces)
