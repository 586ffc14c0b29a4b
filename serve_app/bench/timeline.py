"""How much audio a player can play once it has so many bytes of the body."""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import Protocol

import av

# Bytes per sample and the usual rate of bodies that carry no header.
RAW_FORMATS: dict[str, tuple[int, int]] = {"pcm": (2, 24_000), "ulaw": (1, 8_000)}

ENCODED_FORMATS = ("mp3", "opus", "aac", "flac")

RESPONSE_FORMATS = (*RAW_FORMATS, "wav", *ENCODED_FORMATS)

# Enough of a body to hold a RIFF header with metadata before the data.
HEAD_BYTES = 4096


class Timeline(Protocol):
    def seconds(self, byte_count: int) -> float:
        """Audio playable from the first `byte_count` bytes of the body."""
        ...


@dataclass(frozen=True)
class RawTimeline:
    """Samples back to back after `header_bytes`; `frame_bytes` is one sample of every channel."""

    header_bytes: int
    frame_bytes: int
    sample_rate_hz: int

    def seconds(self, byte_count: int) -> float:
        return max(0, byte_count - self.header_bytes) // self.frame_bytes / self.sample_rate_hz


@dataclass(frozen=True)
class PacketTimeline:
    """Packet n is whole after `ends_bytes[n]` bytes (ascending); `until_s[n]` is the audio up to its end."""

    ends_bytes: tuple[int, ...]
    until_s: tuple[float, ...]

    def seconds(self, byte_count: int) -> float:
        packets = bisect_right(self.ends_bytes, byte_count)
        return self.until_s[packets - 1] if packets else 0.0


def timeline(response_format: str, body: bytes, sample_rate_hz: int | None = None) -> Timeline:
    """The timeline of a body.

    Raw formats and wav need only the first `HEAD_BYTES`; `sample_rate_hz` is for bodies that do not say it.
    ValueError where the body is not what the format says.
    """
    if response_format in RAW_FORMATS:
        frame_bytes, usual_rate_hz = RAW_FORMATS[response_format]
        # Some servers put a RIFF header before "raw" samples; counted as audio it would be heard as a click.
        if body.startswith(b"RIFF"):
            return wav_timeline(body)
        return RawTimeline(0, frame_bytes, sample_rate_hz or usual_rate_hz)
    return wav_timeline(body) if response_format == "wav" else packet_timeline(body)


def wav_timeline(head: bytes) -> RawTimeline:
    """From a RIFF header; the size of the data is not read, because streamed files carry a placeholder."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        raise ValueError(f"no RIFF/WAVE header; the body starts with {head[:12]!r}")
    at, shape = 12, None
    while at + 8 <= len(head):
        name, size = struct.unpack_from("<4sI", head, at)
        if name == b"fmt ":
            _, _, sample_rate_hz, _, frame_bytes = struct.unpack_from("<HHIIH", head, at + 8)
            shape = frame_bytes, sample_rate_hz
        if name == b"data" and shape and all(shape):
            return RawTimeline(at + 8, *shape)
        at += 8 + size + size % 2
    raise ValueError(f"no data after the RIFF header within {len(head)} bytes")


def packet_timeline(body: bytes) -> PacketTimeline:
    """By decoding the whole body with PyAV.

    A packet counts from where the next one starts in the file: an Ogg page is unusable before its last byte,
    and all packets of a page report the position of the page. ValueError where nothing can be decoded.
    """
    until_s: dict[int, float] = {}
    start, total_s = 0, 0.0
    try:
        with av.open(io.BytesIO(body)) as container:
            for packet in container.demux(container.streams.audio[0]):
                # The last, empty packet only fetches what the decoder still holds; it has no position.
                start = start if packet.pos is None else packet.pos
                total_s += sum(frame.samples / frame.sample_rate for frame in packet.decode())
                until_s[start] = total_s
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"the body cannot be decoded: {error}") from error
    return PacketTimeline((*list(until_s)[1:], len(body)), tuple(until_s.values()))
