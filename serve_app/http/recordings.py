"""Recordings inside a JSON body."""

from __future__ import annotations

from deployments.core.errors import InvalidRequest
from deployments.voices.data_url import read_data_url


def read_recording(value: str, param: str) -> bytes:
    """The bytes of a `data:` URL, not yet decoded. Raises SpeechError naming `param`."""
    if value[:5].lower() != "data:":
        raise InvalidRequest(
            f"{param}: only data:audio/…;base64,… is accepted, with the recording inside; this server fetches no "
            "addresses and opens no files that a request names. A voice that is used again is best registered once: "
            "POST /v1/audio/voices",
            param=param,
        )
    return read_data_url(value, param=param)
