from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.errors import InvalidRequest, SpeechError, TooLarge, UnsupportedMedia
from deployments.voices.data_url import read_data_url
from deployments.voices.decode import MAX_BYTES, decode_reference
from deployments.voices.reference import ReferenceAudio


def decode_data_url(url: str, param: str = "ref_audio") -> ReferenceAudio:
    return decode_reference(read_data_url(url, param=param), param=param)


@pytest.mark.parametrize(
    "head", ["data:audio/wav;base64,", "DATA:Audio/WAV;base64,", "data:audio/webm;codecs=opus;base64,"]
)
def test_reads_recordings(recording: bytes, head: str) -> None:
    audio = decode_data_url(head + base64.b64encode(recording).decode())
    assert audio.sha256 == hashlib.sha256(recording).hexdigest()
    assert audio.duration_s == 4.0


def test_percent_signs() -> None:
    data = bytes(range(256))
    quoted = base64.b64encode(data).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    assert read_data_url(f"data:audio/wav;base64,{quoted}") == data


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("", InvalidRequest),
        ("/etc/passwd", InvalidRequest),
        ("file:///etc/passwd", InvalidRequest),
        ("data:audio/wav,raw", InvalidRequest),
        ("data:audio/wav;base64,@@@@", InvalidRequest),
        ("data:audio/wav;base64,é", InvalidRequest),
        ("data:audio/wav;base64,", InvalidRequest),
        ("data:image/png;base64,AAAA", UnsupportedMedia),
        ("data:;base64,AAAA", UnsupportedMedia),
        ("data:audio/wav;base64,AAAA", SpeechError),
        ("data:audio/wav;base64," + "A" * (MAX_BYTES * 4 // 3 + 8), TooLarge),
    ],
)
def test_refuses(url: str, error: type[SpeechError]) -> None:
    with pytest.raises(error) as refusal:
        decode_data_url(url, param="emo_audio")
    assert refusal.value.param == "emo_audio"


@given(st.text())
def test_any_text(text: str) -> None:
    for url in (text, f"data:audio/wav;base64,{text}"):
        with pytest.raises(SpeechError):
            decode_data_url(url)
