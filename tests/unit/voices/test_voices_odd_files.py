"""Files as recorders, browsers and broken downloads leave them: what a player plays is read."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.core.errors import SpeechError, UnsupportedMedia
from deployments.voices.decode import decode_reference

GUID = bytes.fromhex("0000000000001000800000aa00389b71")  # behind the kind of samples
RATE = 24_000


def form(tag: int, channels: int, block: int, bits: int, valid: int | None = None) -> bytes:
    """The contents of a `fmt ` chunk; with `valid` bits the extensible kind."""
    plain = struct.pack("<HHIIHH", tag, channels, RATE, RATE * block, block, bits)
    if valid is None:
        return plain
    return struct.pack("<H", 0xFFFE) + plain[2:] + struct.pack("<HHIH", 22, valid, 4, tag) + GUID[2:]


def chunk(kind: bytes, content: bytes, stated: int | None = None) -> bytes:
    return kind + struct.pack("<I", len(content) if stated is None else stated) + content


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return chunk(b"RIFF", body)


@pytest.fixture(scope="module")
def tone(speech) -> NDArray[np.float32]:
    found: NDArray[np.float32] = speech(3.0)[0]
    return found


@pytest.mark.parametrize("extensible", [True, False])
@pytest.mark.parametrize("aligned", ["left", "right"])
@pytest.mark.parametrize(("bits", "stored"), [(24, 4), (20, 4), (12, 2)])
def test_samples_of_fewer_bits_than_they_take(
    tone: NDArray[np.float32], *, extensible: bool, aligned: str, bits: int, stored: int
) -> None:
    values = np.round(tone * (2 ** (bits - 1) - 1)).astype(np.int64)
    shift = stored * 8 - bits if aligned == "left" else 0
    data = (values << shift).astype(f"<i{stored}").tobytes()
    fmt = form(1, 1, stored, stored * 8, bits) if extensible else form(1, 1, stored, bits)
    audio = decode_reference(riff(chunk(b"fmt ", fmt), chunk(b"data", data)))
    np.testing.assert_allclose(audio.samples[0], tone, atol=2.0 ** (2 - bits))
    assert audio.warnings == ()


@pytest.mark.parametrize(("tag", "kind"), [(1, "<i2"), (1, "<i4"), (3, "<f4"), (3, "<f8")])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_extensible_format(tone: NDArray[np.float32], tag: int, kind: str, channels: int) -> None:
    size = np.dtype(kind).itemsize
    values = np.repeat(tone, channels) * (1 if tag == 3 else 2 ** (size * 8 - 1) - 1)
    fmt = form(tag, channels, channels * size, size * 8, size * 8)
    audio = decode_reference(riff(chunk(b"fmt ", fmt), chunk(b"data", values.astype(kind).tobytes())))
    assert audio.samples.shape == (channels, len(tone))
    np.testing.assert_allclose(audio.samples[0], tone, atol=1e-4)


@pytest.mark.parametrize("block", [0, 1, 3])
def test_a_block_size_that_was_not_filled_in(tone: NDArray[np.float32], block: int) -> None:
    data = chunk(b"data", (tone * 32767).astype("<i2").tobytes())
    audio = decode_reference(riff(chunk(b"fmt ", form(1, 1, block, 16)), data))
    np.testing.assert_allclose(audio.samples[0], tone, atol=1e-4)


@pytest.mark.parametrize("stated", [0, 1, 44, 1000, 72_001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wrong_length_loses_nothing(tone: NDArray[np.float32], stated: int) -> None:
    samples = (tone * 32767).astype("<i2").tobytes()
    audio = decode_reference(riff(chunk(b"fmt ", form(1, 1, 2, 16)), chunk(b"data", samples, stated)))
    assert (audio.duration_s, audio.warnings) == (3.0, ())


@pytest.mark.parametrize(
    "between", [chunk(b"LIST", b"INFOx"), chunk(b"LIST", b"INFO", 0x7FFFFFF0), chunk(b"JUNK", b"\0" * 28)]
)
def test_chunks_between_format_and_samples(tone: NDArray[np.float32], between: bytes) -> None:
    samples = chunk(b"data", (tone * 32767).astype("<i2").tobytes())
    tags = chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0\0")
    audio = decode_reference(riff(chunk(b"fmt ", form(1, 1, 2, 16)), between, samples, tags))
    assert audio.duration_s == 3.0


ID3 = b"ID3\x03\0\0"
COVER = b"APIC\0\x01\0\0\0\0\0image/jpeg\0\x03\0\xff\xd8\xff\xe0" + bytes(range(256)) * 250
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 48000\r\n\r\n"
FORM = b'------x\r\nContent-Disposition: form-data; name="file"\r\n\r\n'


@pytest.mark.parametrize(
    "junk",
    [
        b"\0" * 417,
        b"\0" * 50_000,
        b"\r\n",
        b"\n",
        b"\xff\xfb",
        b"\xff" * 1000,
        HTTP,
        FORM,
        b"<html><body>moved</body></html>\n",
        "\ufeff".encode(),
        ID3 + b"\0\0\0\x0a" + b"x" * 31,
        ID3 + b"\0\0\x20\0" + b"x" * 77,
        ID3 + b"\0\0\0\0",
        ID3 + b"\x7f\x7f\x7f\x7f" + b"TIT2",
        ID3 + b"\0\x03\x74\x1e" + COVER,
        ID3 + b"\0\x03\x74\x1e" + COVER + b"\0" * 2048,
        ID3 + struct.pack(">I", len(COVER)) + COVER,
        b"TAG" + b"title".ljust(125, b"\0"),
    ],
    ids=lambda junk: repr(junk[:14]),
)
@pytest.mark.parametrize("kind", ["mp3", "adts"])
def test_what_stands_before_the_first_frame(speech, encode_av, junk: bytes, kind: str) -> None:
    plain = encode_av(speech(3.0), RATE, kind, {"mp3": "libmp3lame", "adts": "aac"}[kind])
    audio, expected = decode_reference(junk + plain), decode_reference(plain)
    assert audio.media_type == expected.media_type
    assert audio.duration_s == pytest.approx(expected.duration_s, abs=0.03)
    np.testing.assert_allclose(audio.samples[0, -RATE:], expected.samples[0, -RATE:], atol=0.01)


@pytest.mark.parametrize("junk", [b"\r\n", b"\0" * 100, HTTP, FORM], ids=lambda junk: repr(junk[:8]))
@pytest.mark.parametrize(
    ("kind", "codec", "rate"),
    [("wav", "pcm_s16le", RATE), ("flac", "flac", RATE), ("ogg", "libopus", 48_000), ("mp4", "aac", RATE)],
)
def test_junk_before_containers(speech, encode_av, junk: bytes, kind: str, codec: str, rate: int) -> None:
    if kind == "mp4" and b"\0" in junk:
        junk = b"\r\n\r\n"
    audio = decode_reference(junk + encode_av(speech(3.0, rate), rate, kind, codec))
    assert audio.duration_s == pytest.approx(3.0, abs=0.1)


def test_junk_alone_is_no_recording() -> None:
    noise = np.random.default_rng(3).integers(0, 256, 200_000, np.uint8).tobytes()
    for data in (b"\xff" * 100_000, noise, b"\xff\xfb\x90\x00" * 3000, HTTP, b"PK\x03\x04" + noise):
        with pytest.raises(SpeechError):
            decode_reference(data)
    with pytest.raises(UnsupportedMedia, match="ZIP"):
        decode_reference(b"PK\x03\x04" + b"RIFF\0\0\0\0WAVEfmt ")


def test_two_mp3_files_in_one(speech, encode_av) -> None:
    part = ID3 + b"\0\0\0\x0a" + b"\0" * 10 + encode_av(speech(3.0), RATE, "mp3", "libmp3lame")
    assert decode_reference(part + part).duration_s == pytest.approx(6.0, abs=0.1)
