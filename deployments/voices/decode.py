"""Uploaded bytes to reference audio, through PyAV: limits first, because the bytes come from strangers."""

from __future__ import annotations

import hashlib
import io
import time
from dataclasses import dataclass, field
from typing import Any, NoReturn

import av
import numpy as np
from numpy.typing import NDArray

from deployments.core.errors import InvalidRequest, TooLarge, UnsupportedMedia
from deployments.voices.best_part import PART_S, LevelMeter, Part, choose_part
from deployments.voices.channels import sound_channels
from deployments.voices.containers import ALLOWED_FORMATS, Container, sniff
from deployments.voices.quality import check_quality
from deployments.voices.reference import ReferenceAudio

MAX_BYTES = 10_000_000
MAX_DURATION_S = 30.0  # that is kept
LONGEST_S = 600.0  # of an upload; its best part is kept
MIN_DURATION_S = 1.0
# Encoders pad the last packet, so that a recording cut to exactly 30 s decodes to a little more.
PADDING_S = 0.1
MIN_SAMPLE_RATE_HZ = 8_000
MAX_SAMPLE_RATE_HZ = 192_000
MAX_CHANNELS = 2
# A damaged packet at an end is common and harmless; one in fifty is not.
MAX_DAMAGED_SHARE = 0.02
MAX_DAMAGED = 50
TRUNCATED_S = 0.5
# Decoding takes milliseconds; what takes longer is made to (packets of kilobytes that unpack to megabytes).
MAX_DECODE_S = 10.0

# Also keeps the demuxer from opening video decoders while it probes a file.
CODECS = (
    *("pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_s64le", "pcm_f32le", "pcm_f64le"),
    *("pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_f32be", "pcm_f64be", "pcm_mulaw", "pcm_alaw"),
    *("flac", "alac", "mp3", "mp3float", "aac", "vorbis", "opus", "libopus"),
)


def decode_reference(data: bytes, *, param: str = "ref_audio") -> ReferenceAudio:
    """Decode and check an uploaded recording; `param` is the request's field, for error messages.

    At most 10 MB and 10 min, at least 1 s, 8 to 192 kHz, mono or stereo. Silence at the ends is left out, and of more
    than 30 s the best part is kept; the warnings say so. Raises TooLarge (413), UnsupportedMedia (415) or
    InvalidRequest (400).
    """
    if len(data) > MAX_BYTES:
        raise TooLarge(
            f"The recording has {len(data) / 1e6:.1f} MB; at most {MAX_BYTES / 1e6:g} MB are allowed. "
            f"{MAX_DURATION_S:g} s of mp3 or flac fit easily.",
            param=param,
            code="audio_too_large",
        )
    if not data:
        raise InvalidRequest("The recording is empty (0 bytes).", param=param)
    upload = sniff(data, param=param)
    recording = _Decoding(upload.container, param, upload.missing_bytes)
    recording.read(upload.content)
    duration_s, rate = recording.total / recording.sample_rate_hz, recording.sample_rate_hz
    if duration_s < MIN_DURATION_S:
        raise InvalidRequest(
            f"The recording lasts {duration_s:.2f} s; cloning a voice needs at least {MIN_DURATION_S:g} s.",
            param=param,
            code="audio_too_short",
        )
    part = recording.best_part()
    samples, notes = sound_channels(recording.samples(part, upload.content))
    warnings = (
        *recording.warnings(duration_s),
        *part.notes,
        *notes,
        *check_quality(samples, rate, heard_s=PART_S, param=param),
    )
    digest = hashlib.sha256(data).hexdigest()
    return ReferenceAudio(
        samples,
        rate,
        samples.shape[1] / rate,
        warnings,
        digest,
        upload.container.media_type,
        shortened=part.shortened,
    )


@dataclass
class _Decoding:
    """What has been decoded so far. Of a recording that is longer than what may be kept only the levels remain, so that
    memory is bounded by the limits; its best part is then decoded again."""

    container: Container
    param: str
    missing_bytes: int
    sample_rate_hz: int = 0
    channels: int = 0
    total: int = 0
    packets: int = 0
    damaged: int = 0
    stated_s: float = 0.0
    wanted: Part | None = None  # None: everything, as long as it may be kept
    parts: list[NDArray[np.float32]] = field(default_factory=list)
    meter: LevelMeter = field(init=False)

    def read(self, data: bytes) -> None:
        """Decode all of `data`. Raises InvalidRequest."""
        try:
            self._read(data)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise self.damage(getattr(error, "strerror", None) or str(error)) from error

    def best_part(self) -> Part:
        return choose_part(
            self.meter.levels,
            self.meter.frame,
            self.total,
            self.sample_rate_hz,
            most_s=(MAX_DURATION_S + PADDING_S),
        )

    def samples(self, part: Part, data: bytes) -> NDArray[np.float32]:
        """(channels, n) of a part of what was read from `data`."""
        if self.parts:
            return np.concatenate(self.parts, axis=1)[:, part.start : part.end]
        again = _Decoding(self.container, self.param, 0, wanted=part)
        again.read(data)
        return np.concatenate(again.parts, axis=1)

    def _read(self, data: bytes) -> None:
        deadline_s = time.monotonic() + MAX_DECODE_S
        with av.open(
            io.BytesIO(data),
            format=self.container.demuxer,
            container_options={"codec_whitelist": ",".join(CODECS), "protocol_whitelist": "none"},
            metadata_errors="replace",
            io_open=_refuse_other_files,
        ) as media:
            stream = _audio_stream(media, self.container, self.param)
            stream.thread_type = "NONE"
            if self.container.states_duration:
                self.stated_s = (media.duration or 0) / av.time_base
            # Packets of every stream, so that the clock is looked at even where none of them is audio.
            for packet in media.demux():
                if time.monotonic() > deadline_s or self.damaged > MAX_DAMAGED:
                    raise self.damage()
                if packet.stream_index == stream.index:
                    self._decode(packet)
        if not self.total or self.damaged > max(1, self.packets * MAX_DAMAGED_SHARE):
            raise self.damage()

    def _decode(self, packet: Any) -> None:
        self.packets += 1
        try:
            for frame in packet.decode():
                self._add(frame)
        except av.error.InvalidDataError:
            self.damaged += 1

    def _add(self, frame: Any) -> None:
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        if not self.total:
            self._start(rate, channels)
        if (rate, channels) != (self.sample_rate_hz, self.channels):
            raise self._invalid(
                f"The recording changes from {self.channels} channels at {self.sample_rate_hz} Hz to "
                f"{channels} at {rate} Hz. Export it again as one piece."
            )
        begin, self.total = self.total, self.total + frame.samples
        if self.total > (LONGEST_S + PADDING_S) * rate:
            raise self._invalid(
                f"The recording is longer than {LONGEST_S:g} s. Send its best part, without music; "
                "about 10 s are enough.",
                code="audio_too_long",
            )
        if self.wanted is not None:
            first, end = max(begin, self.wanted.start), min(self.total, self.wanted.end)
            if first < end:
                self.parts.append(_planes(frame, channels)[:, first - begin : end - begin])
            return
        planes = _planes(frame, channels)
        self.meter.add(planes)
        if self.total <= (MAX_DURATION_S + PADDING_S) * rate:
            self.parts.append(planes)
        else:
            self.parts.clear()

    def _start(self, rate: int, channels: int) -> None:
        if not MIN_SAMPLE_RATE_HZ <= rate <= MAX_SAMPLE_RATE_HZ:
            raise self._invalid(
                f"The recording has a sample rate of {rate} Hz; allowed are {MIN_SAMPLE_RATE_HZ} to "
                f"{MAX_SAMPLE_RATE_HZ} Hz."
            )
        if not 1 <= channels <= MAX_CHANNELS:
            raise self._invalid(f"The recording has {channels} channels; send mono or stereo.")
        self.sample_rate_hz, self.channels = rate, channels
        self.meter = LevelMeter(rate)

    def warnings(self, duration_s: float) -> list[str]:
        warnings = []
        if self.damaged:
            warnings.append(f"{self.damaged} of {self.packets} packets are damaged and left out.")
        if self.missing_bytes:
            warnings.append(
                f"{self.missing_bytes} bytes are missing at the recording's end; it looks cut off."
            )
        if self.stated_s > duration_s + TRUNCATED_S:
            warnings.append(
                f"The recording should last {self.stated_s:.1f} s, not {duration_s:.1f} s; it looks cut off."
            )
        return warnings

    def damage(self, reason: str | None = None) -> InvalidRequest:
        reason = reason or f"{self.damaged} of {self.packets} packets are broken"
        return self._invalid(
            f"The recording looks like {self.container.name} but cannot be decoded ({reason}). "
            "It may be damaged or cut off; export it again, best as wav or flac."
        )

    def _invalid(self, message: str, code: str | None = None) -> InvalidRequest:
        return InvalidRequest(message, param=self.param, code=code)


def _audio_stream(media: Any, container: Container, param: str) -> Any:
    if not media.streams.audio:
        kinds = sorted({stream.type for stream in media.streams}) or ["nothing"]
        message = f"The {container.name} file has no audio track, only {', '.join(kinds)}."
        raise UnsupportedMedia(message, param=param)
    stream = media.streams.audio[0]
    codec = stream.codec_context.name if stream.codec_context else "an unknown codec"
    if codec not in CODECS:
        raise UnsupportedMedia(
            f"The {container.name} file holds {codec}, which cannot be read. Allowed: {ALLOWED_FORMATS}.",
            param=param,
        )
    return stream


def _planes(frame: Any, channels: int) -> NDArray[np.float32]:
    """(channels, n) in [-1, 1]: integers are divided by their full scale, which is exact up to 24 bits."""
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, channels).T
    if array.dtype == np.uint8:
        return ((array.astype(np.float32) - 128) / 128).astype(np.float32)
    if np.issubdtype(array.dtype, np.integer):
        return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    with np.errstate(over="ignore"):  # doubles too large become infinite, which is refused later
        return array.astype(np.float32)


def _refuse_other_files(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError("a recording may not refer to other files")
