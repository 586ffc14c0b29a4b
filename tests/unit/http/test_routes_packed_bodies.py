"""Bodies that were compressed on the way."""

from __future__ import annotations

import gzip
import json
import zlib

import httpx
import pytest
from http_fakes import MAX_BODY_BYTES, FakeService
from speech_answers import FAST, SPEECH

BODY = json.dumps(FAST).encode()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


async def send(client: httpx.AsyncClient, data: bytes, encoding: str) -> httpx.Response:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    return await client.post(SPEECH, content=data, headers=headers)


# mtime: the time in the head of a file would give a case another name in each of the processes that share the tests.
@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (gzip.compress(BODY, mtime=0), "gzip"),
        (gzip.compress(BODY, mtime=0), "GZIP"),
        (gzip.compress(BODY, mtime=0), "x-gzip"),
        (gzip.compress(BODY[:9], mtime=0) + gzip.compress(BODY[9:], mtime=0), "gzip"),
        (zlib.compress(BODY), "deflate"),
        (raw_deflate(BODY), "deflate"),
        (gzip.compress(zlib.compress(BODY), mtime=0), "deflate, gzip"),
        (gzip.compress(BODY, mtime=0), "identity, gzip"),
        (BODY, "identity"),
        (BODY, ""),
    ],
)
async def test_what_is_read(
    client: httpx.AsyncClient, service: FakeService, data: bytes, encoding: str
) -> None:
    answer = await send(client, data, encoding)
    assert answer.status_code == 200, answer.text
    assert service.requests[0].text == FAST["input"]


async def test_in_a_batch_whose_body_is_read_twice(client: httpx.AsyncClient) -> None:
    data = gzip.compress(json.dumps({"items": [{"input": "Hi."}], "model": "toy"}).encode())
    answer = await client.post(f"{SPEECH}/batch", content=data, headers={"content-encoding": "gzip"})
    assert answer.json()["succeeded"] == 1


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "\t x"])
async def test_other_encodings_are_refused_by_name(client: httpx.AsyncClient, encoding: str) -> None:
    answer = await send(client, b"\x00", encoding)
    assert answer.status_code == 415
    assert "Content-Encoding" in answer.json()["error"]["message"]
    assert answer.headers["accept-encoding"] == "gzip, deflate, identity"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "data", [b"", b"\x00", BODY, gzip.compress(BODY, mtime=0)[:-9], zlib.compress(BODY)[:-5]]
)
async def test_what_is_not_as_it_says(client: httpx.AsyncClient, data: bytes, encoding: str) -> None:
    answer = await send(client, data, encoding)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_encoding"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip"])
async def test_a_bomb_is_not_unpacked_beyond_the_bound(
    client: httpx.AsyncClient, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[int] = []
    real = zlib.decompressobj

    class Counted:
        def __init__(self, bits: int) -> None:
            self._real = real(bits)

        def decompress(self, data: bytes, most: int) -> bytes:
            unpacked.append(len(found := self._real.decompress(data, most)))
            return found

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

    data = b" " * 5_000_000
    for name in encoding.split(", "):
        data = gzip.compress(data) if name == "gzip" else zlib.compress(data)
    monkeypatch.setattr("serve_app.http.packed_body.zlib.decompressobj", Counted)
    answer = await send(client, data, encoding)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert max(unpacked) <= MAX_BODY_BYTES + 1


async def test_a_packed_body_that_is_too_large_as_it_comes(client: httpx.AsyncClient) -> None:
    assert (await send(client, b"x" * (MAX_BODY_BYTES + 1), "gzip")).status_code == 413
