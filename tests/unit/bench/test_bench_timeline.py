from __future__ import annotations

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.bench.timeline import RawTimeline, timeline

SECONDS = 2

ENCODERS = {
    "mp3": ("mp3", "libmp3lame", 24_000, {}),
    "opus": ("ogg", "libopus", 48_000, {"page_duration": "20000"}),
    "aac": ("adts", "aac", 24_000, {}),
    "flac": ("flac", "flac", 24_000, {}),
}


def encoded(container: str, codec: str, rate_hz: int, options: dict[str, str]) -> bytes:
    """Two seconds of a tone."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout="mono")
        tone = (8000 * np.sin(0.05 * np.arange(SECONDS * rate_hz))).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        resampler = av.AudioResampler(
            format=stream.format.name, layout="mono", rate=rate_hz, frame_size=stream.frame_size or 1024
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(piece))
    return file.getvalue()


def decodable_s(prefix: bytes) -> float:
    """What a decoder gets out of the beginning of a file."""
    seconds = 0.0
    try:
        with av.open(io.BytesIO(prefix)) as container:
            for frame in container.decode(audio=0):
                seconds += frame.samples / frame.sample_rate
    except av.FFmpegError:
        pass
    return seconds


@pytest.mark.parametrize("response_format", ENCODERS)
def test_an_encoded_body_is_playable_as_far_as_a_decoder_gets(response_format: str) -> None:
    body = encoded(*ENCODERS[response_format])
    line = timeline(response_format, body)
    assert line.seconds(0) == 0
    assert line.seconds(len(body)) == pytest.approx(decodable_s(body))
    assert line.seconds(len(body)) == pytest.approx(SECONDS, abs=0.06)
    shares = np.linspace(0.4, 1, 13)
    playable_s = [line.seconds(int(share * len(body))) for share in shares]
    assert playable_s == sorted(playable_s)
    for share, seconds in zip(shares, playable_s, strict=True):
        # One packet more or less: 96 ms in flac, 43 ms in aac.
        assert seconds == pytest.approx(decodable_s(body[: int(share * len(body))]), abs=0.1)


def test_large_ogg_pages_hold_audio_back() -> None:
    small, large = (
        encoded("ogg", "libopus", 48_000, options) for options in ({"page_duration": "20000"}, {})
    )
    share = 0.4
    assert timeline("opus", small).seconds(int(share * len(small))) > 0.6
    assert timeline("opus", large).seconds(int(share * len(large))) == 0


@pytest.mark.parametrize("body", [b"", b"this is no audio", bytes(5000)])
@pytest.mark.parametrize("response_format", [*ENCODERS, "wav"])
def test_a_body_that_is_no_audio_is_an_error(response_format: str, body: bytes) -> None:
    with pytest.raises(ValueError, match=r"decoded|RIFF"):
        timeline(response_format, body)


def wav_header(rate_hz: int, channels: int, extra: bytes = b"") -> bytes:
    """As streamed: placeholders for the lengths; `extra` are chunks before the data."""
    shape = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * channels * 2, channels * 2, 16)
    return b"RIFF\xff\xff\xff\xffWAVE" + extra + b"fmt \x10\0\0\0" + shape + b"data\xff\xff\xff\xff"


@pytest.mark.parametrize("extra", [b"", b"LIST\x05\0\0\0abcde\0"])
@pytest.mark.parametrize("response_format", ["wav", "pcm"])
def test_a_riff_header_is_not_audio_even_in_pcm(response_format: str, extra: bytes) -> None:
    header = wav_header(16_000, 2, extra)
    line = timeline(response_format, header + bytes(100), 24_000)
    assert line.seconds(len(header)) == 0
    assert line.seconds(len(header) + 3) == 0
    assert line.seconds(len(header) + 64_000) == 1.0


def test_a_header_without_data_is_an_error() -> None:
    with pytest.raises(ValueError, match="no data"):
        timeline("wav", wav_header(16_000, 1)[:-8] + b"junk\xff\xff\xff\x0f")


def test_raw_rates() -> None:
    assert timeline("pcm", b"\1\2").seconds(48_000) == 1.0
    assert timeline("pcm", b"\1\2", 16_000).seconds(32_000) == 1.0
    assert timeline("ulaw", b"\1\2").seconds(8_000) == 1.0


@pytest.mark.slow
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_raw_audio_is_whole_samples_and_never_shrinks(one: int, other: int) -> None:
    line = RawTimeline(header_bytes=44, frame_bytes=2, sample_rate_hz=24_000)
    fewer, more = sorted((one, other))
    assert line.seconds(fewer) <= line.seconds(more)
    assert line.seconds(more) * 24_000 == pytest.approx(max(0, more - 44) // 2)
