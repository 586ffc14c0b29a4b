from __future__ import annotations

import io

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.core.errors import InvalidRequest
from deployments.core.speech import Samples
from serve_app.audio.encoders import (
    FORMATS,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    make_encoder,
    output_rate_hz,
    to_pcm16,
    wav_header,
)

CONTAINERS = ("mp3", "opus", "aac", "flac")
ANY_RATE_HZ = (8000, 11_025, 12_345, 16_000, 22_050, 24_000, 37_800, 44_100, 48_000)


def noise(count: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, count).astype(np.float32)


def encode(name: str, rate_hz: int, samples: Samples, piece: int) -> bytes:
    encoder = make_encoder(FORMATS[name], rate_hz)
    parts = [encoder.write(samples[begin : begin + piece]) for begin in range(0, len(samples), piece)]
    return b"".join([*parts, encoder.close()])


def decoded_samples(data: bytes) -> tuple[int, int]:
    with av.open(io.BytesIO(data)) as container:
        return sum(frame.samples for frame in container.decode(audio=0)), container.streams.audio[0].rate


@pytest.mark.parametrize(
    ("name", "rate_hz"),
    [(name, rate) for name in CONTAINERS for rate in FORMATS[name].rates_hz or ANY_RATE_HZ],
)
def test_every_rate_that_is_allowed_is_encoded(name: str, rate_hz: int) -> None:
    assert output_rate_hz(FORMATS[name], rate_hz) == rate_hz
    count, decoded_hz = decoded_samples(encode(name, rate_hz, noise(rate_hz // 2), 4000))
    assert decoded_hz == (48_000 if name == "opus" else rate_hz)
    # Codec frames of up to 1152 samples (2048 with aac's lead-in) pad both ends.
    assert count / decoded_hz == pytest.approx(0.5, abs=3200 / rate_hz)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rate_hz", [0, -1, 7999, 48_001, 10**9])
def test_other_rates_are_refused(name: str, rate_hz: int) -> None:
    with pytest.raises(InvalidRequest, match=str(rate_hz)) as caught:
        output_rate_hz(FORMATS[name], rate_hz)
    assert caught.value.param == "sample_rate"


def test_the_message_lists_what_is_allowed() -> None:
    with pytest.raises(InvalidRequest, match=r"8000, 12000, 16000, 24000, 48000"):
        output_rate_hz(FORMATS["opus"], 44_100)
    with pytest.raises(InvalidRequest, match=f"{MIN_RATE_HZ} to {MAX_RATE_HZ}"):
        output_rate_hz(FORMATS["flac"], 96_000)


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_in_gives_a_file_that_opens(name: str) -> None:
    encoder = make_encoder(FORMATS[name], 24_000)
    data = encoder.write(noise(0)) + encoder.close()
    if name == "wav":
        assert len(data) == 44
    if name == "pcm":
        assert data == b""


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(["mp3", "aac", "flac", "wav", "pcm"]),
    count=st.integers(1, 9000),
    piece=st.integers(1, 4000),
)
def test_a_file_does_not_depend_on_the_pieces(name: str, count: int, piece: int) -> None:
    samples = noise(count)
    # Far more pieces than samples/50 only cost time.
    piece = max(piece, count // 50 + 1)
    assert encode(name, 24_000, samples, piece) == encode(name, 24_000, samples, count)


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav"])
def test_the_first_bytes_come_with_the_first_samples(name: str) -> None:
    rate_hz = FORMATS[name].default_rate_hz
    assert len(make_encoder(FORMATS[name], rate_hz).write(noise(rate_hz // 4))) > 500


def test_a_container_is_not_seeked_and_opens_as_a_stream() -> None:
    data = encode("opus", 48_000, noise(48_000), 5000)
    assert data[:4] == b"OggS"


def test_pcm_is_clipped_and_little_endian() -> None:
    samples = np.array([0, 1, -1, 2, -3, 0.5, np.inf, -np.inf], dtype=np.float32)
    assert np.frombuffer(to_pcm16(samples), "<i2").tolist() == [
        0,
        32767,
        -32767,
        32767,
        -32767,
        16384,
        32767,
        -32767,
    ]


@pytest.mark.parametrize("name", CONTAINERS)
def test_loud_audio_is_clipped_not_wrapped(name: str) -> None:
    loud = np.full(24_000, 3.0, dtype=np.float32)
    data = encode(name, FORMATS[name].default_rate_hz, loud, 6000)
    assert decoded_samples(data)[0] > 20_000


@given(st.integers(MIN_RATE_HZ, MAX_RATE_HZ), st.none() | st.integers(0, 2**31 - 100))
def test_the_wav_header_has_44_bytes(rate_hz: int, count: int | None) -> None:
    header = wav_header(rate_hz, count)
    assert len(header) == 44
    size = int.from_bytes(header[40:44], "little")
    assert size == (0xFFFFFFFF if count is None else 2 * count)
    assert int.from_bytes(header[24:28], "little") == rate_hz


def test_a_whole_wav_opens_with_its_exact_length() -> None:
    encoder = make_encoder(FORMATS["wav"], 16_000, samples_total=12_345)
    data = encoder.write(noise(12_345)) + encoder.close()
    assert decoded_samples(data) == (12_345, 16_000)
