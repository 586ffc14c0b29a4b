"""Clients that go in any phase of a request, or hardly read: nothing of them stays, and nobody else is harmed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from cluster import SMALL, Cluster
from websockets.asyncio.client import connect

SPEECH = "/v1/audio/speech"
ROOM = 4  # requests at once in the application `small`
WORD_BYTES = 4800  # 0.1 s of 24 kHz
LONG = "slow " + "one " * 199  # 10 s
LATE = "late " + LONG
WITHIN_S = 30.0


@pytest.fixture
async def small(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cluster.small_url, timeout=60) as client:
        yield client


async def spoken(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post(SPEECH, json={"input": "slow one two three", "response_format": "pcm"})


async def assert_nothing_stays(cluster: Cluster, client: httpx.AsyncClient) -> None:
    """No stage works for anybody, and as many requests as ever have room."""
    assert await cluster.settled("tiny", SMALL, within_s=WITHIN_S)
    until_s = time.monotonic() + WITHIN_S
    while True:
        answers = await asyncio.gather(*(spoken(client) for _ in range(ROOM)))
        if {answer.status_code for answer in answers} == {200}:
            assert {len(answer.content) for answer in answers} == {4 * WORD_BYTES}
            return
        assert time.monotonic() < until_s, [answer.text for answer in answers]
        await asyncio.sleep(0.2)


async def asking(
    cluster: Cluster, text: str, part: float = 1.0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which a request, or only the first part of its body, has been sent."""
    url = urlsplit(cluster.small_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=2**12)
    body = json.dumps({"input": text, "response_format": "pcm"}).encode()
    head = (
        f"POST {url.path}{SPEECH} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body[: round(part * len(body))])
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize(
    ("text", "part", "reads"),
    [
        (LONG, 0.5, 0),
        (LATE, 1.0, 0),
        (LONG, 1.0, 1),
        (LONG, 1.0, 20 * WORD_BYTES),
        ("slow one", 1.0, WORD_BYTES),
    ],
    ids=["within its body", "before the first audio", "at the first byte", "in the middle", "at the end"],
)
async def test_a_client_that_goes(
    cluster: Cluster, small: httpx.AsyncClient, text: str, part: float, reads: int
) -> None:
    gone = [await asking(cluster, text, part) for _ in range(ROOM)]
    for reader, _ in gone:
        await asyncio.wait_for(reader.readexactly(reads), WITHIN_S)
    for _, writer in gone:
        writer.transport.abort()
    await assert_nothing_stays(cluster, small)


async def test_clients_that_go_while_there_is_no_room_for_them(
    cluster: Cluster, small: httpx.AsyncClient
) -> None:
    inside = [await asking(cluster, LONG) for _ in range(ROOM)]
    for reader, _ in inside:
        await asyncio.wait_for(reader.readexactly(1), WITHIN_S)
    outside = [await asking(cluster, LONG) for _ in range(ROOM)]
    for _, writer in (*outside, *inside):
        writer.transport.abort()
    await assert_nothing_stays(cluster, small)


@pytest.mark.parametrize(
    "messages", [0, 1, 2], ids=["before its first message", "before its text", "in the middle"]
)
async def test_a_session_whose_client_vanishes(
    cluster: Cluster, small: httpx.AsyncClient, messages: int
) -> None:
    said = (
        {"type": "session.config", "response_format": "pcm"},
        {"type": "input.text", "text": f"{LONG}."},
    )
    address = cluster.small_url.replace("http://", "ws://") + f"{SPEECH}/stream"
    for _ in range(ROOM):
        socket = await connect(address, max_size=None)
        for message in said[:messages]:
            await socket.send(json.dumps(message))
        socket.transport.abort()
    await assert_nothing_stays(cluster, small)


async def test_a_client_that_hardly_reads_harms_nobody(cluster: Cluster, small: httpx.AsyncClient) -> None:
    """What it does not read waits for it, and the others hear theirs at the pace of always."""
    reader, writer = await asking(cluster, LONG)
    try:
        await asyncio.wait_for(reader.readexactly(1), WITHIN_S)
        for _ in range(5):
            answer = await spoken(small)
            assert (answer.status_code, len(answer.content)) == (200, 4 * WORD_BYTES)
            await asyncio.wait_for(reader.readexactly(1), WITHIN_S)
    finally:
        writer.transport.abort()
    await assert_nothing_stays(cluster, small)
