from __future__ import annotations

import hashlib
import io
import struct
import time
import zlib
from collections.abc import Callable

import av
import numpy as np
import pytest
import soundfile

from deployments.core.errors import InvalidRequest, SpeechError, TooLarge, UnsupportedMedia
from deployments.voices.decode import MAX_BYTES, decode_reference
from deployments.voices.reference import ReferenceAudio


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_decodes_bit_exactly(wav, channels: int, subtype: str) -> None:
    noise = np.random.default_rng(1).uniform(-0.9, 0.9, (channels, 50_001))
    data = wav(noise, 22_050, subtype)
    audio = decode_reference(data)
    expected, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    np.testing.assert_array_equal(audio.samples, expected.T)
    assert audio.samples.dtype == np.float32
    assert (audio.sample_rate_hz, audio.duration_s) == (rate, 50_001 / rate)
    assert audio.sha256 == hashlib.sha256(data).hexdigest()
    np.testing.assert_allclose(audio.mono(), expected.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize(
    ("container", "codec", "rate", "media_type", "tolerance"),
    [
        ("wav", "pcm_mulaw", 8_000, "audio/wav", 0.02),
        ("flac", "flac", 44_100, "audio/flac", 1e-4),
        ("mp3", "libmp3lame", 24_000, "audio/mpeg", 0.05),
        ("ogg", "libopus", 48_000, "audio/ogg", 0.1),
        ("webm", "libopus", 48_000, "audio/webm", 0.1),
        ("mp4", "aac", 44_100, "audio/mp4", 0.05),
        ("ipod", "alac", 44_100, "audio/mp4", 1e-4),
        ("adts", "aac", 24_000, "audio/aac", None),  # has no place for the encoder's delay
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_allowed_format(
    speech,
    encode_av,
    *,
    container: str,
    codec: str,
    rate: int,
    media_type: str,
    tolerance: float | None,
    channels: int,
) -> None:
    signal = speech(3.5, rate, channels)
    audio = decode_reference(encode_av(signal, rate, container, codec))
    assert audio.samples.shape[0] == channels
    assert audio.sample_rate_hz == rate
    assert audio.duration_s == pytest.approx(3.5, abs=0.1)
    assert audio.media_type == media_type
    assert bool(audio.warnings) == (rate == 8_000)
    if tolerance:
        middle = slice(rate, 2 * rate)
        np.testing.assert_allclose(audio.samples[:, middle], signal[:, middle], atol=tolerance)


def test_vorbis(speech, wav) -> None:
    audio = decode_reference(wav(speech(3), 24_000, "VORBIS", "OGG"))
    assert audio.duration_s == pytest.approx(3, abs=0.02)
    assert audio.media_type == "audio/ogg"


def test_golden_recordings(golden_front) -> None:
    for path in golden_front.glob("*.wav"):
        expected, rate = soundfile.read(path, dtype="float32", always_2d=True)
        audio = decode_reference(path.read_bytes())
        np.testing.assert_array_equal(audio.samples, expected.T)
        assert audio.sample_rate_hz == rate


def test_mp3_with_tags_and_cover(speech, encode_av) -> None:
    tag = b"ID3\x04\0\0\0\0\x02\0" + b"\xff" * 256
    assert decode_reference(tag + tag + encode_av(speech(3), 24_000, "mp3", "libmp3lame")).duration_s == 3.0


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_streamed_wav_with_placeholder_length(recording: bytes, size: int) -> None:
    at = recording.index(b"data") + 4
    streamed = b"RIFF" + b"\xff" * 4 + recording[8:at] + struct.pack("<I", size) + recording[at + 4 :]
    audio = decode_reference(streamed)
    assert (audio.duration_s, audio.warnings) == (4.0, ())


def test_wav_with_other_chunks(recording: bytes) -> None:
    extra = b"LIST" + struct.pack("<I", 5) + b"INFO\0\0"
    ends = b"LIST\xff\xff\xff\xffINFOISFT\xff\xff\xff\x7f"
    audio = decode_reference(recording[:12] + extra + recording[12:] + ends)
    np.testing.assert_array_equal(audio.samples, decode_reference(recording).samples)
    with pytest.raises(InvalidRequest, match="samples are missing"):
        decode_reference(recording[:12] + ends + recording[12:])


def test_rf64(recording: bytes) -> None:
    at = recording.index(b"data")
    long = b"ds64" + struct.pack("<IQQQI", 28, len(recording), 192_000, 96_000, 0)
    data = (
        b"RF64"
        + b"\xff" * 4
        + b"WAVE"
        + long
        + recording[12:at]
        + b"data"
        + b"\xff" * 4
        + recording[at + 8 :]
        + b"tail"
    )
    np.testing.assert_array_equal(decode_reference(data).samples, decode_reference(recording).samples)


@pytest.mark.parametrize("duration_s", [0.1, 0.99])
def test_too_short(speech, wav, duration_s: float) -> None:
    with pytest.raises(InvalidRequest, match="at least 1 s") as error:
        decode_reference(wav(speech(duration_s)), param="audio_sample")
    assert (error.value.param, error.value.code) == ("audio_sample", "audio_too_short")


@pytest.mark.slow
def test_length_limit(speech, wav, encode_av) -> None:
    assert decode_reference(wav(speech(30.0, 8_000), 8_000)).duration_s == 30.0
    assert decode_reference(encode_av(speech(30.0), 24_000, "adts", "aac")).duration_s >= 30.0
    assert decode_reference(wav(speech(30.5, 8_000), 8_000)).duration_s <= 15.0
    with pytest.raises(InvalidRequest, match="longer than 600 s") as error:
        decode_reference(wav(speech(601, 8_000), 8_000))
    assert error.value.code == "audio_too_long"


def test_too_many_bytes() -> None:
    with pytest.raises(TooLarge, match="at most 10 MB") as error:
        decode_reference(b"\0" * (MAX_BYTES + 1))
    assert error.value.code == "audio_too_large"


@pytest.mark.slow
def test_an_hour_of_silence_stops_at_the_limit(wav) -> None:
    bomb = wav(np.zeros((1, 3600 * 48_000), np.float32), 48_000, kind="FLAC")
    assert len(bomb) < MAX_BYTES
    started = time.process_time()
    with pytest.raises(InvalidRequest, match="longer than 600 s"):
        decode_reference(bomb)
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"this is not audio at all\n" * 40, "text"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "text"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 60, "PNG"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 60, "JPEG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0" * 5000, "zeros"),
        (b"RIFF\0\0\0\0AVI LIST", "RIFF file of kind 'AVI '"),
        ("text in UTF-16".encode("utf-16"), "unknown"),
    ],
)
def test_other_files_are_named(data: bytes, found: str) -> None:
    with pytest.raises(UnsupportedMedia, match=found) as error:
        decode_reference(data)
    assert "Allowed: wav, flac" in error.value.message


def test_unknown_codec(speech, wav) -> None:
    with pytest.raises(UnsupportedMedia, match="adpcm_ima_wav"):
        decode_reference(wav(speech(3), 24_000, "IMA_ADPCM"))


def test_video_without_sound() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as media:
        stream = media.add_stream("mpeg4", rate=24)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for packet in (*stream.encode(av.VideoFrame(64, 64, "yuv420p")), *stream.encode(None)):
            media.mux(packet)
    with pytest.raises(UnsupportedMedia, match="no audio track, only video"):
        decode_reference(file.getvalue())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 0, "silent"),
        (lambda x: x * 1e-3, "silent"),
        (lambda x: np.where(np.arange(x.size) == 7, np.nan, x), "NaN"),
        (lambda x: np.where(np.arange(x.size) == 7, np.inf, x), "NaN or infinite"),
        (lambda x: x * 32768, "within -1 and 1"),
        (lambda x: np.repeat(x, 6, axis=0), "6 channels"),
    ],
)
def test_unusable_recordings(speech, wav, change: Callable, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        decode_reference(wav(change(speech(3)), 24_000, "FLOAT"))


@pytest.mark.parametrize("rate", [4_000, 384_000])
def test_absurd_sample_rates(speech, wav, rate: int) -> None:
    with pytest.raises(InvalidRequest, match=f"sample rate of {rate} Hz"):
        decode_reference(wav(speech(1.5, rate), rate))


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda x: x * 0.02, "very quiet"),
        (lambda x: np.clip(x * 5, -1, 1), "clipped"),
        (lambda x: x[:, :40_000], "only 1.7 s"),
        (
            lambda x: np.concatenate([x[:, :12_000], x[:, :96_000] * 0], axis=1),
            "only 1.0 s",
        ),
    ],
)
def test_warnings(speech, wav, change: Callable, warning: str) -> None:
    given = decode_reference(wav(change(speech()))).warnings
    assert warning in given[-1]


def test_cut_off_files_say_so(recording: bytes, speech, wav, encode_av) -> None:
    assert any(
        "cut off" in warning for warning in decode_reference(recording[: len(recording) * 3 // 4]).warnings
    )
    flac = wav(np.random.default_rng(0).uniform(-0.5, 0.5, (1, 96_000)), kind="FLAC")
    assert any("cut off" in warning for warning in decode_reference(flac[: len(flac) * 7 // 8]).warnings)
    mp4 = encode_av(speech(), 24_000, "mp4", "aac")
    with pytest.raises(InvalidRequest, match="cannot be decoded"):
        decode_reference(mp4[: len(mp4) // 2])


def _id3_bomb() -> bytes:
    def synchsafe(number: int) -> bytes:
        return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))

    title = zlib.compress(b"\0" + b"a" * 50_000_000, 9)
    frame = b"TIT2" + synchsafe(len(title) + 4) + b"\0\x09" + synchsafe(50_000_000) + title
    return b"ID3\x04\0\0" + synchsafe(len(frame)) + frame


@pytest.mark.parametrize("place", ["wav chunk", "before mp3", "inside aac"])
def test_id3_tags_are_not_unpacked(recording: bytes, speech, encode_av, place: str) -> None:
    tag = _id3_bomb()
    if place == "wav chunk":
        chunk = b"id3 " + struct.pack("<I", len(tag)) + tag + b"\0" * (len(tag) % 2)
        bomb = recording[:12] + chunk + recording[12:]
    elif place == "before mp3":
        bomb = tag + encode_av(speech(), 24_000, "mp3", "libmp3lame")
    else:
        bomb = encode_av(speech(), 24_000, "adts", "aac") + tag
    started = time.process_time()
    if place == "inside aac":
        with pytest.raises(InvalidRequest, match="ID3"):
            decode_reference(bomb)
    else:
        assert decode_reference(bomb).duration_s == pytest.approx(4, abs=0.1)
    assert time.process_time() - started < 0.3  # unpacking takes a second or more


@pytest.mark.parametrize("box", [b"stsz", b"trun", b"cmov"])
def test_mp4_with_billions_of_samples(speech, encode_av, box: bytes) -> None:
    data = encode_av(speech(), 24_000, "mp4", "aac")
    bomb = data + struct.pack(">I", 20) + box + b"\0" * 4 + b"\x10\0\0\0" * 2
    with pytest.raises(InvalidRequest, match="announces more content"):
        decode_reference(bomb)


def test_samples_without_a_file() -> None:
    mono = np.linspace(-1, 1, 100)
    audio = ReferenceAudio.from_samples(mono, 50)
    assert audio.samples.shape == (1, 100)
    assert audio.duration_s == 2.0
    assert audio.sha256 == ReferenceAudio.from_samples(mono[None], 50).sha256
    assert audio.sha256 != ReferenceAudio.from_samples(mono, 51).sha256
    assert audio.sha256 != ReferenceAudio.from_samples(mono.reshape(2, 50), 50).sha256
    with pytest.raises(SpeechError):
        ReferenceAudio.from_samples(np.zeros((1, 2, 3)), 50)
