"""Streams and requests as their clients see them when a replica dies, hangs, or is the router itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from cluster import PAIR, SMALL, Cluster, kill_replicas

SPEECH = "/v1/audio/speech"
LONG = "slow " + "one " * 199  # 10 s
PIECE_TIMEOUT_S = 3.0  # of the application `small`


@pytest.fixture
async def small(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cluster.small_url, timeout=60) as client:
        yield client


@pytest.fixture
async def pair(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cluster.pair_url, timeout=60) as client:
        yield client


async def until_well(client: httpx.AsyncClient) -> None:
    began_s = time.monotonic()
    while True:
        answer = await client.post(SPEECH, json={"input": "one two", "response_format": "pcm"})
        if answer.status_code == 200:
            return
        assert time.monotonic() - began_s < 40, answer.text
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
async def test_a_stream_whose_stage_hangs_is_cut_in_time(
    cluster: Cluster, small: httpx.AsyncClient, stream_format: str
) -> None:
    pid = (await cluster.counts("tiny", SMALL))["pid"]
    body = {"input": LONG, "response_format": "pcm", "stream_format": stream_format}
    stopped_s, heard, cut = 0.0, b"", False
    try:
        try:
            async with small.stream("POST", SPEECH, json=body) as answer:
                assert answer.status_code == 200
                async for data in answer.aiter_bytes():
                    heard += data
                    if not stopped_s:
                        os.kill(pid, signal.SIGSTOP)
                        stopped_s = time.monotonic()
        except httpx.RemoteProtocolError:
            cut = True
        took_s = time.monotonic() - stopped_s
    finally:
        os.kill(pid, signal.SIGCONT)
    assert PIECE_TIMEOUT_S - 1 < took_s < PIECE_TIMEOUT_S + 4
    if stream_format == "audio":
        assert cut
    else:
        events = [line for line in heard.decode().splitlines() if line.startswith("data: ")]
        last = json.loads(events[-1].removeprefix("data: "))
        assert (last["type"], last["error"]["code"]) == ("speech.audio.error", "stream_stalled")
    told = await logged(cluster, "is cut after", "Ingress")
    assert any("model tiny" in line and "made no more audio" in line for line in told)
    assert not await logged(cluster, "Traceback", "Ingress")
    assert await cluster.settled("tiny", SMALL)
    await until_well(small)


async def logged(cluster: Cluster, text: str, deployment: str) -> list[str]:
    """Lines of the logs of an application's replicas."""
    await asyncio.sleep(0.5)
    files = [*cluster.logs.glob(f"replica_{SMALL}_{deployment}_*.log")]
    assert files
    return [line for file in files for line in file.read_text("utf-8").splitlines() if text in line]


async def test_the_router_knows_of_a_death_within_two_seconds_and_unasked(
    cluster: Cluster, pair: httpx.AsyncClient
) -> None:
    await until_well(pair)
    body = {"input": "Hello.", "model": "quality"}
    began_s = time.monotonic()
    while (await states(pair, body)).get("first") != "up":
        assert time.monotonic() - began_s < 40
        await asyncio.sleep(0.2)
    os.kill((await cluster.counts("first", PAIR))["pid"], signal.SIGKILL)
    killed_s = time.monotonic()
    while (await states(pair, body))["first"] != "down":
        assert time.monotonic() - killed_s < 2
        await asyncio.sleep(0.05)
    asked_s = time.monotonic()
    answer = await pair.post(SPEECH, json={"input": "one two", "model": "quality", "response_format": "pcm"})
    assert (answer.status_code, answer.headers["x-model"]) == (200, "second")
    assert time.monotonic() - asked_s < 8  # while another process starts on the same cores
    while (await states(pair, body))["first"] != "up":
        assert time.monotonic() - killed_s < 40
        await asyncio.sleep(0.2)


async def states(client: httpx.AsyncClient, body: dict[str, object]) -> dict[str, str]:
    """By model, what the router thinks of it; only the route is asked, which asks no model."""
    candidates = (await client.post("/v1/audio/route", json=body)).json()["candidates"]
    return {each["model"]: each["state"] for each in candidates}


async def test_who_asks_for_a_dead_model_alone_gets_it_when_it_is_back(
    cluster: Cluster, small: httpx.AsyncClient
) -> None:
    await until_well(small)
    os.kill((await cluster.counts("tiny", SMALL))["pid"], signal.SIGKILL)
    await asyncio.sleep(0.6)
    began_s = time.monotonic()
    answer = await small.post(SPEECH, json={"input": "one two", "response_format": "pcm"})
    took_s = time.monotonic() - began_s
    if answer.status_code == 503:  # on a machine that takes more than ten seconds to start a process
        assert took_s > 9
        assert answer.headers["retry-after"]
    else:
        assert answer.status_code == 200
        assert len(answer.content) == 2 * 4800


async def test_the_death_of_the_router_loses_no_request_that_has_no_byte_yet(
    cluster: Cluster, small: httpx.AsyncClient
) -> None:
    await until_well(small)
    body = {"input": "late slow one", "response_format": "pcm"}
    asked = [asyncio.create_task(small.post(SPEECH, json=body)) for _ in range(3)]
    assert kill_replicas("Router", SMALL) == 1
    asked += [asyncio.create_task(small.post(SPEECH, json=body)) for _ in range(1)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, httpx.RemoteProtocolError):  # it had its first byte
            continue
        assert isinstance(answer, httpx.Response), answer
        assert answer.status_code == 200, answer.text
    await until_well(small)
