"""Wav files as they are found: lengths that were never filled in, chunks of every kind, samples in odd sizes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Streams state a length of 0 or about 2 or 4 GiB, because they do not know it yet.
UNKNOWN_LENGTH = 2**31 - 2**16
MAX_FORMAT_BYTES = 1024
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
SAMPLE_BYTES = {PCM: (1, 2, 3, 4, 8), FLOAT: (4, 8)}
# That may follow the samples; their own length may be wrong as well.
KINDS = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"fact", b"PEAK", b"JUNK", b"fmt ", b"data")
INTEGERS = {2: "<i2", 4: "<i4"}  # that may hold samples of fewer bits


def plain_wav(data: bytes) -> tuple[bytes, int]:
    """A wav file of the same samples without other chunks, and how many bytes are missing at its end.

    Other chunks hold tags, for which demuxers allocate whatever a length field of four bytes asks for. Raises
    ValueError where the format or the samples are not found.
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
            return _plain(form, data, start, long_length if long_length and length == 0xFFFFFFFF else length)
    # The length of a chunk in between may be wrong.
    at = data.find(b"data", 12) if form else -1
    if at < 0 or at + 8 >= len(data):
        raise ValueError("its format or its samples are missing")
    return _plain(form, data, at + 8, int.from_bytes(data[at + 4 : at + 8], "little"))


def _plain(form: bytes, data: bytes, start: int, stated: int) -> tuple[bytes, int]:
    known = 0 < stated < UNKNOWN_LENGTH and _ends_there(data, start + stated)
    samples = data[start : start + stated] if known else data[start:]
    return _write(*_canonical(form, samples)), stated - len(samples) if known else 0


def _ends_there(data: bytes, end: int) -> bool:
    """Whether a length is to be believed: the file ends there or before, or another chunk begins."""
    return len(data) - end < 9 or any(_is_chunk(data, at) for at in (end, end + 1))


def _is_chunk(data: bytes, at: int) -> bool:
    kind = data[at : at + 4]
    if kind in KINDS:
        return True
    length = int.from_bytes(data[at + 4 : at + 8], "little")
    return kind.isascii() and kind.isalnum() and length <= len(data) - at - 8


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and stated length of each chunk. They start at even places, save where a writer forgot to."""
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8, length
        at += 8 + length
        if length % 2 and data[at : at + 4] not in KINDS:
            at += 1


@dataclass(frozen=True, slots=True)
class _Format:
    """A format of plain samples; `bits` of each of `sample_bytes` say something."""

    tag: int
    channels: int
    rate_hz: int
    sample_bytes: int
    bits: int

    @staticmethod
    def read(form: bytes) -> _Format | None:
        """None where it is none of plain samples, or not complete."""
        if len(form) < 16:
            return None
        tag, channels, rate_hz, _, block, bits = struct.unpack_from("<HHIIHH", form)
        valid = bits
        if tag == EXTENSIBLE and len(form) >= 26:
            valid, tag = struct.unpack_from("<H", form, 18)[0] or bits, struct.unpack_from("<H", form, 24)[0]
        if tag not in SAMPLE_BYTES or not channels:
            return None
        sample_bytes = -(-bits // 8)
        if block == 4 * channels and sample_bytes < 4:
            sample_bytes = 4  # other sizes of a block than those that are used were not filled in
        if sample_bytes not in SAMPLE_BYTES[tag]:
            return None
        return _Format(tag, channels, rate_hz, sample_bytes, min(valid or sample_bytes * 8, sample_bytes * 8))

    def written(self) -> bytes:
        block = self.channels * self.sample_bytes
        return struct.pack(
            "<HHIIHH",
            self.tag,
            self.channels,
            self.rate_hz,
            self.rate_hz * block,
            block,
            self.sample_bytes * 8,
        )


def _canonical(form: bytes, samples: bytes) -> tuple[bytes, bytes]:
    """Format and samples as every decoder reads them: 24 bits in 32, for one, would be taken for packed."""
    found = _Format.read(form)
    if found is None:
        return form, samples
    samples = samples[
        : len(samples) // (found.channels * found.sample_bytes) * (found.channels * found.sample_bytes)
    ]
    if found.tag == PCM and found.bits < found.sample_bytes * 8 and found.sample_bytes in INTEGERS:
        samples = _left_aligned(samples, found)
    return found.written(), samples


def _left_aligned(samples: bytes, form: _Format) -> bytes:
    """The bits that count belong at the top. Some writers leave them at the bottom: then no sample is ever larger than
    they allow, and the lowest bits are not all zero."""
    values = np.frombuffer(samples, INTEGERS[form.sample_bytes])
    unused = form.sample_bytes * 8 - form.bits
    most = 1 << (form.bits - 1)
    low = (values & ((1 << unused) - 1)).any() if len(values) else False
    if not low or values.max() >= most or values.min() < -most:
        return samples
    return (values << unused).astype(values.dtype).tobytes()


def _write(form: bytes, samples: bytes) -> bytes:
    form += b"\0" * (len(form) % 2)
    body = (
        struct.pack("<4s4sI", b"WAVE", b"fmt ", len(form)) + form + struct.pack("<4sI", b"data", len(samples))
    )
    return struct.pack("<4sI", b"RIFF", len(body) + len(samples)) + body + samples
