"""Recordings by address: off unless the operator names hosts, and then from the public Internet alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from http_fakes import LIMITS, FakeService

from deployments.core.errors import SpeechError
from deployments.voices.decode import MAX_BYTES
from serve_app.config import Limits
from serve_app.http import remote_recording
from serve_app.http.application import create_api
from serve_app.http.remote_recording import RemoteRecordings, is_public

GOOD = "https://cdn.example/a/voice.wav?take=2"
Handler = Callable[[httpx.Request], Any]


def streamed(data: bytes) -> httpx.Response:
    """As from a network: not yet read."""
    return httpx.Response(200, stream=httpx.ByteStream(data))


def remote(
    handler: Handler = lambda request: streamed(b"RIFF"),
    addresses: tuple[str, ...] = ("93.184.216.34",),
    hosts: tuple[str, ...] = ("cdn.example",),
) -> RemoteRecordings:
    async def resolve(host: str) -> list[str]:
        return list(addresses)

    return RemoteRecordings(hosts, resolve, httpx.MockTransport(handler))


async def refusal(recordings: RemoteRecordings, address: str = GOOD) -> SpeechError:
    with pytest.raises(SpeechError) as raised:
        await recordings.fetch(address, "ref_audio")
    assert raised.value.param == "ref_audio"
    return raised.value


async def test_the_address_that_was_looked_at_is_the_one_that_is_asked() -> None:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return streamed(b"RIFF")

    assert await remote(handler).fetch(GOOD, "ref_audio") == b"RIFF"
    (request,) = asked
    assert str(request.url) == "https://93.184.216.34/a/voice.wav?take=2"
    assert request.headers["host"] == "cdn.example"
    assert request.headers["accept-encoding"] == "identity"
    assert request.extensions["sni_hostname"] == "cdn.example"
    assert "authorization" not in request.headers
    assert await remote(addresses=("2606:2800:220:1::1",)).fetch(GOOD, "ref_audio") == b"RIFF"


@pytest.mark.parametrize(
    "address",
    [
        "http://cdn.example/a.wav",
        "ftp://cdn.example/a.wav",
        "file:///etc/passwd",
        "https:///a.wav",
        "https://cdn.example:8443/a.wav",
        "https://user:word@cdn.example/a.wav",
        "https://[::1",
        "https://" + "x" * 70_000,
    ],
)
async def test_only_plain_https(address: str) -> None:
    assert (await refusal(remote(hosts=("*",)), address)).status == 400


@pytest.mark.parametrize(
    ("hosts", "address", "allowed"),
    [
        (("cdn.example",), "https://CDN.example/a", True),
        (("*.example",), "https://cdn.example/a", True),
        (("*.example",), "https://example/a", False),
        (("*.cdn.example",), "https://evilcdn.example/a", False),
        (("cdn.example",), "https://cdn.example.evil.org/a", False),
        (("cdn.example",), "https://cdn.example@evil.org/a", False),
        (("*",), "https://anywhere.org/a", True),
        ((), "https://cdn.example/a", False),
    ],
)
async def test_hosts_that_the_operator_named(hosts: tuple[str, ...], address: str, allowed: bool) -> None:
    recordings = remote(hosts=hosts)
    if allowed:
        assert await recordings.fetch(address, "ref_audio") == b"RIFF"
    else:
        assert (await refusal(recordings, address)).status in (400, 403)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *(
            "::1",
            "::",
            "fe80::1",
            "fe80::1%eth0",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::ffff:7f00:1",
        ),
        *("2002:a00:1::1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2001:db8::1", "nonsense", ""),
    ],
)
async def test_nothing_inside_the_network(address: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise AssertionError("it was asked")

    assert not is_public(address)
    assert (await refusal(remote(handler, (address,), ("*",)))).status == 403
    # One private address among public ones is enough.
    assert (await refusal(remote(handler, ("93.184.216.34", address), ("*",)))).status == 403


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8"])
def test_the_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 500])
async def test_redirects_are_not_followed(status: int) -> None:
    asked = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(status, headers={"location": "http://169.254.169.254/"})

    error = await refusal(remote(handler))
    assert (error.status, asked) == (400, 1)
    assert str(status) in error.message


async def test_size_is_bounded_while_it_comes() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1_000_000
            yield b"\0" * 1_000_000

    error = await refusal(remote(lambda request: httpx.Response(200, content=endless())))
    assert (error.status, error.code) == (413, "audio_too_large")
    assert sent <= MAX_BYTES + 2_000_000


async def test_time_is_bounded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_recording, "FETCH_TIMEOUT_S", 0.2)

    async def dripping() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.02)
            yield b"\0"

    assert (
        "within 0.2 s"
        in (await refusal(remote(lambda request: httpx.Response(200, content=dripping())))).message
    )


async def test_a_host_that_is_not_there() -> None:
    async def resolve(host: str) -> list[str]:
        raise OSError("no such host")

    assert (await refusal(RemoteRecordings(("*",), resolve))).status == 400


async def test_off_unless_hosts_are_named(service: FakeService) -> None:
    for limits, status in ((LIMITS, 400), (Limits(remote_audio_hosts=("other.example",)), 403)):
        app = create_api(service, limits)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            answer = await client.post("/v1/audio/speech", json={"input": "Hi.", "ref_audio": GOOD})
        assert answer.status_code == status
        assert answer.json()["error"]["param"] == "ref_audio"
    assert not service.requests


async def test_what_was_fetched_is_what_is_spoken_like(service: FakeService) -> None:
    app = create_api(service, Limits(remote_audio_hosts=("cdn.example",)))
    app.state.remote_recordings = remote(lambda request: streamed(b"the recording"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for path, body in (
            ("/v1/audio/speech", {"input": "Hi.", "ref_audio": GOOD}),
            ("/v1/audio/speech/batch", {"items": [{"input": "Hi."}], "ref_audio": GOOD}),
            ("/v1/audio/route", {"input": "Hi.", "ref_audio": GOOD}),
        ):
            assert (await client.post(path, json=body)).status_code == 200
    assert [request.reference_audio for request in service.requests] == [b"the recording"] * 3
