"""WAV files reduced to what a decoder needs: the format and the samples."""

from __future__ import annotations

import struct
from collections.abc import Iterator

# Streams state a length of 0 or about 2 or 4 GiB, because they do not know it yet.
UNKNOWN_LENGTH = 2**31 - 2**16
MAX_FORMAT_BYTES = 1024


def plain_wav(data: bytes) -> tuple[bytes, int]:
    """A wav file of the same samples without other chunks, and how many bytes are missing at its end.

    Other chunks hold tags, for which demuxers allocate whatever a length field of four bytes asks for.
    Raises ValueError where the format or the samples are not found.
    """
    form, long_length = b"", None
    for kind, start, length in _chunks(data):
        if kind == b"ds64":
            long_length = int.from_bytes(data[start + 8 : start + 16], "little")
        elif kind == b"fmt ":
            form = data[start : start + min(length, MAX_FORMAT_BYTES)]
        elif kind == b"data":
            if not form:
                break
            stated = long_length if long_length and length == 0xFFFFFFFF else length
            known = 0 < stated < UNKNOWN_LENGTH
            samples = data[start : start + stated] if known else data[start:]
            return _write(form, samples), stated - len(samples) if known else 0
    raise ValueError("its format or its samples are missing")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and stated length of each chunk; chunks start at even places."""
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8, length
        at += 8 + length + length % 2


def _write(form: bytes, samples: bytes) -> bytes:
    form += b"\0" * (len(form) % 2)
    body = (
        struct.pack("<4s4sI", b"WAVE", b"fmt ", len(form)) + form + struct.pack("<4sI", b"data", len(samples))
    )
    return struct.pack("<4sI", b"RIFF", len(body) + len(samples)) + body + samples
