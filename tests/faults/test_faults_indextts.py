"""Each stage of IndexTTS2 is killed or hangs while it is used: nobody is left without an answer, or with half of one
as if it were whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import psutil
import pytest
from cluster import Cluster

SPEECH = "/v1/audio/speech"
TEXT = "The first sentence is short. The second one is a little longer than the first. And here is a third."
STAGES = ("speaker", "gpt", "s2mel", "vocoder")
USERS = 3
HANG_S = 3.0
BACK_S = 90.0  # reading weights on a busy machine


@dataclass(frozen=True)
class Heard:
    """`cut`: the connection broke before its end."""

    status: int | None
    size: int
    cut: bool
    told: str = ""
    retry_after: str = ""


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=120) as client:
        yield client


async def hear(client: httpx.AsyncClient, begun: asyncio.Event | None = None) -> Heard:
    body = {"model": "index", "input": TEXT, "response_format": "pcm", "seed": 7, "fallback": False}
    status, size = None, 0
    try:
        async with client.stream("POST", SPEECH, json=body) as answer:
            status = answer.status_code
            if status != httpx.codes.OK:
                told = (await answer.aread()).decode()
                return Heard(status, 0, False, told, answer.headers.get("retry-after", ""))
            async for data in answer.aiter_bytes():
                size += len(data)
                if begun is not None:
                    begun.set()
    except httpx.RemoteProtocolError as error:
        return Heard(status, size, True, str(error))
    return Heard(status, size, False)


def replica_pids(stage: str) -> list[int]:
    """Of the stage's only replica; of none while it starts again."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(f"ray::ServeReplica:voicegraph:index-{stage}"):
                found.append(process.pid)
    return found


async def replica_pid(stage: str, other_than: int = 0) -> int:
    began_s = time.monotonic()
    while not (found := [pid for pid in replica_pids(stage) if pid != other_than]):
        assert time.monotonic() - began_s < BACK_S, f"no replica of {stage}"
        await asyncio.sleep(0.3)
    return found[0]


async def whole_size(client: httpx.AsyncClient) -> int:
    """Bytes of the answer when all is well, waiting until it is."""
    began_s = time.monotonic()
    while (heard := await hear(client)).status != httpx.codes.OK or heard.cut:
        assert time.monotonic() - began_s < BACK_S, heard
        await asyncio.sleep(0.3)
    return heard.size


async def under_load(client: httpx.AsyncClient, pid: int, hang_s: float) -> list[Heard]:
    """What clients heard of a stage whose process is killed, or stopped for a while, once the first of them hears
    something."""
    begun = asyncio.Event()
    users = [asyncio.create_task(hear(client, begun)) for _ in range(USERS)]
    await asyncio.wait_for(begun.wait(), BACK_S)
    os.kill(pid, signal.SIGSTOP if hang_s else signal.SIGKILL)
    try:
        users += [asyncio.create_task(hear(client)) for _ in range(USERS)]
        await asyncio.sleep(hang_s)
    finally:
        if hang_s:
            os.kill(pid, signal.SIGCONT)
    return await asyncio.gather(*users)


@pytest.mark.parametrize("stage", STAGES)
async def test_a_stage_that_is_killed(client: httpx.AsyncClient, stage: str) -> None:
    size, pid = await whole_size(client), await replica_pid(stage)
    for heard in await under_load(client, pid, hang_s=0.0):
        if heard.cut:
            assert 0 < heard.size < size, heard
        elif heard.status == httpx.codes.OK:
            assert heard.size == size
        else:  # it waited for the next replica, on a machine that takes more than ten seconds to start one
            assert heard.status == httpx.codes.SERVICE_UNAVAILABLE, heard
            assert heard.retry_after
    assert await replica_pid(stage, other_than=pid)
    assert await whole_size(client) == size


@pytest.mark.parametrize("stage", STAGES)
async def test_a_stage_that_hangs_for_a_moment_delays_and_breaks_nothing(
    client: httpx.AsyncClient, stage: str
) -> None:
    size = await whole_size(client)
    found = await under_load(client, await replica_pid(stage), HANG_S)
    assert {(heard.status, heard.size, heard.cut) for heard in found} == {(200, size, False)}, found
