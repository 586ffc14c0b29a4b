"""`data:` URLs, by which a request carries a one-off reference recording."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from deployments.core.errors import InvalidRequest, TooLarge, UnsupportedMedia
from deployments.voices.decode import MAX_BYTES, decode_reference
from deployments.voices.reference import ReferenceAudio

_PREFIX = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*)(;base64)?,", re.IGNORECASE | re.ASCII)
# Browsers label recordings of the microphone as video too; what counts is what the bytes turn out to be.
_TYPES = re.compile(r"audio/.+|video/(webm|mp4|ogg)|application/(ogg|octet-stream)")


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
        return base64.b64decode(unquote_to_bytes(body) if "%" in body else body, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("The data URL's content is not valid base64.", param=param) from None


def decode_data_url(url: str, *, param: str = "ref_audio") -> ReferenceAudio:
    """Decode the recording inside a `data:` URL, under the limits of `decode_reference`."""
    return decode_reference(read_data_url(url, param=param), param=param)
