"""Parts of a recording, as players ask for them (RFC 9110, section 14)."""

from __future__ import annotations

import pytest
from httpx import AsyncClient, Response
from voices_fake import Clip

SAMPLE = "/v1/audio/voices/Berta/sample"


@pytest.fixture
async def audio(http: AsyncClient, clip: Clip) -> bytes:
    data = clip()
    await http.post("/v1/audio/voices", data={"name": "Berta"}, files={"audio_sample": ("a.wav", data)})
    return data


async def sample(http: AsyncClient, **headers: str) -> Response:
    return await http.get(SAMPLE, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("wanted", "begin", "end"),
    [
        ("bytes=0-1", 0, 2),
        ("bytes=0-", 0, None),
        ("bytes=100-199", 100, 200),
        ("bytes=100-99999999", 100, None),
        ("bytes=-5", -5, None),
        ("bytes=-99999999", 0, None),
        ("Bytes = 7 - 7", 7, 8),
    ],
)
async def test_one_part(http: AsyncClient, audio: bytes, wanted: str, begin: int, end: int | None) -> None:
    answer = await sample(http, range=wanted)
    expected = audio[begin:end]
    first = begin if begin >= 0 else len(audio) + begin
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(audio)}"
    assert answer.headers["content-length"] == str(len(expected))
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=99999999-100000000", "bytes=-0"])
async def test_a_part_that_is_not_there(http: AsyncClient, audio: bytes, wanted: str) -> None:
    answer = await sample(http, range=wanted)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(audio)}"
    assert answer.json()["error"]["code"] == "range_not_satisfiable"


@pytest.mark.parametrize(
    "wanted",
    ["bytes=5-1", "bytes=-", "bytes=", "bytes=a-b", "seconds=0-1", "bytes=0-1,5-6", "bytes=²-", "0-1"],
)
async def test_what_cannot_be_read_is_answered_with_the_whole(
    http: AsyncClient, audio: bytes, wanted: str
) -> None:
    answer = await http.get(SAMPLE, headers={"range": wanted.encode()})
    assert (answer.status_code, answer.content) == (200, audio)
    assert answer.headers["accept-ranges"] == "bytes"


async def test_a_part_of_the_same_recording_only(http: AsyncClient, audio: bytes) -> None:
    etag = (await sample(http)).headers["etag"]
    assert (await sample(http, range="bytes=0-1", if_range=etag)).status_code == 206
    for other in ('"other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        answer = await sample(http, range="bytes=0-1", if_range=other)
        assert (answer.status_code, answer.content) == (200, audio)


async def test_head_knows_no_ranges(http: AsyncClient, audio: bytes) -> None:
    answer = await http.head(SAMPLE, headers={"range": "bytes=0-1"})
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(audio)))
