"""Streaming encoders: float samples in pieces, bytes of one file out (http-api.md 3)."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Protocol

import av
import numpy as np
from av.audio.frame import AudioFrame

from deployments.core.errors import InvalidRequest
from deployments.core.speech import Samples

WAV_UNKNOWN_SIZE = 0xFFFFFFFF
MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
AAC_RATES_HZ = MP3_RATES_HZ
OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)
MIN_RATE_HZ, MAX_RATE_HZ = 8000, 48000


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """One value of `response_format`. `rates_hz` empty: any rate from 8 to 48 kHz."""

    name: str
    media_type: str
    default_rate_hz: int
    rates_hz: tuple[int, ...] = ()


FORMATS = {
    fmt.name: fmt
    for fmt in (
        AudioFormat("mp3", "audio/mpeg", 24_000, MP3_RATES_HZ),
        AudioFormat("opus", "audio/ogg", 48_000, OPUS_RATES_HZ),
        AudioFormat("aac", "audio/aac", 24_000, AAC_RATES_HZ),
        AudioFormat("flac", "audio/flac", 24_000),
        AudioFormat("wav", "audio/wav", 24_000),
        AudioFormat("pcm", "audio/pcm", 24_000),
    )
}


def output_rate_hz(fmt: AudioFormat, wanted: int | None) -> int:
    """The sample rate to encode at. Raises InvalidRequest for one that the format cannot carry."""
    if wanted is None:
        return fmt.default_rate_hz
    if not MIN_RATE_HZ <= wanted <= MAX_RATE_HZ or (fmt.rates_hz and wanted not in fmt.rates_hz):
        allowed = ", ".join(map(str, fmt.rates_hz)) or f"{MIN_RATE_HZ} to {MAX_RATE_HZ}"
        raise InvalidRequest(
            f"sample_rate {wanted} is not possible for {fmt.name}; allowed: {allowed}", param="sample_rate"
        )
    return wanted


def to_pcm16(samples: Samples) -> bytes:
    """Little-endian signed 16-bit samples; values beyond ±1 are clipped."""
    return (np.clip(samples, -1.0, 1.0) * 32767.0).round().astype("<i2").tobytes()


class Encoder(Protocol):
    def write(self, samples: Samples) -> bytes:
        """Bytes that are ready after these samples; may be empty."""

    def close(self) -> bytes:
        """The rest of the file."""


class PcmEncoder:
    def write(self, samples: Samples) -> bytes:
        return to_pcm16(samples)

    def close(self) -> bytes:
        return b""


class WavEncoder:
    """RIFF with the sizes given by `samples_total`, or placeholders where the length is not known yet."""

    def __init__(self, sample_rate_hz: int, samples_total: int | None) -> None:
        self._header: bytes | None = wav_header(sample_rate_hz, samples_total)

    def write(self, samples: Samples) -> bytes:
        return self._take_header() + to_pcm16(samples)

    def close(self) -> bytes:
        return self._take_header()

    def _take_header(self) -> bytes:
        header, self._header = self._header or b"", None
        return header


def wav_header(sample_rate_hz: int, samples_total: int | None) -> bytes:
    """44 bytes for mono 16 bit."""
    data = WAV_UNKNOWN_SIZE if samples_total is None else samples_total * 2
    riff = WAV_UNKNOWN_SIZE if samples_total is None else data + 36
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(
            b"RIFF",
            riff,
            b"WAVE",
            b"fmt ",
            16,
            1,
            1,
            sample_rate_hz,
            sample_rate_hz * 2,
            2,
            16,
            b"data",
            data,
        ),
    )


class ContainerEncoder:
    """mp3, opus, aac and flac through FFmpeg's encoders."""

    # container, codec, sample layout, container options, bit rate
    _HOW: ClassVar[dict[str, tuple[str, str, str, dict[str, str], int | None]]] = {
        "mp3": ("mp3", "libmp3lame", "fltp", {"write_xing": "0", "id3v2_version": "0"}, 96_000),
        # The default page of one second would hold back the first second of audio.
        "opus": ("ogg", "libopus", "flt", {"page_duration": "20000"}, 64_000),
        "aac": ("adts", "aac", "fltp", {}, 96_000),
        "flac": ("flac", "flac", "s16", {}, None),
    }

    def __init__(self, name: str, sample_rate_hz: int) -> None:
        container, codec, self._layout, options, bit_rate = self._HOW[name]
        self._buffer = _Tail()
        self._container = av.open(self._buffer, "w", format=container, options=options)
        self._stream: av.AudioStream = self._container.add_stream(  # type: ignore[assignment]
            codec, rate=sample_rate_hz, layout="mono", format=self._layout
        )
        if bit_rate:
            self._stream.bit_rate = bit_rate
        self._rate_hz = sample_rate_hz
        self._position = 0

    def write(self, samples: Samples) -> bytes:
        if len(samples) == 0:
            return b""
        data = np.clip(samples, -1.0, 1.0)[None].astype(np.float32)
        if self._layout == "s16":
            data = (data * 32767.0).round().astype(np.int16)
        frame = AudioFrame.from_ndarray(data, format=self._layout, layout="mono")
        frame.sample_rate = self._rate_hz
        frame.pts = self._position
        frame.time_base = Fraction(1, self._rate_hz)
        self._position += len(samples)
        self._container.mux(self._stream.encode(frame))
        return self._buffer.take()

    def close(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._buffer.take()


class _Tail(io.RawIOBase):
    """A write-only, unseekable file of which only the part not yet taken is kept."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def make_encoder(fmt: AudioFormat, sample_rate_hz: int, samples_total: int | None = None) -> Encoder:
    """An encoder for one file. `samples_total`, where known, gives formats with sizes in the header exact ones."""
    if fmt.name == "pcm":
        return PcmEncoder()
    if fmt.name == "wav":
        return WavEncoder(sample_rate_hz, samples_total)
    return ContainerEncoder(fmt.name, sample_rate_hz)
