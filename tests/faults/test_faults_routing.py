"""Models that die or hang, as clients notice it who leave the choice to the server."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass

import httpx
import pytest
from cluster import PAIR, Cluster

SPEECH = "/v1/audio/speech"
WORDS = 8
BYTES = WORDS * 4800  # 0.1 s of 24 kHz each
USERS = 8
SOON_S = 10.0


@dataclass(frozen=True)
class Heard:
    """`status` is None where the connection ended before there was one."""

    status: int | None
    model: str
    size: int
    took_s: float
    cut: bool = False


async def hear(client: httpx.AsyncClient, **fields: object) -> Heard:
    body = {
        "model": "quality",
        "input": "late slow " + "one " * (WORDS - 2),
        "response_format": "pcm",
        **fields,
    }
    began_s = time.monotonic()
    status, model, size = None, "", 0
    try:
        async with client.stream("POST", SPEECH, json=body) as answer:
            status, model = answer.status_code, answer.headers.get("x-model", "")
            async for data in answer.aiter_bytes():
                size += len(data)
    except httpx.RemoteProtocolError:
        return Heard(status, model, size, time.monotonic() - began_s, cut=True)
    return Heard(status, model, size, time.monotonic() - began_s)


@pytest.fixture
async def pair(cluster: Cluster) -> httpx.AsyncClient:
    async with httpx.AsyncClient(base_url=cluster.pair_url, timeout=90) as client:
        yield client  # type: ignore[misc]


async def chosen(client: httpx.AsyncClient) -> str:
    return (await hear(client)).model


async def until_chosen(client: httpx.AsyncClient, model: str, within_s: float) -> float:
    began_s = time.monotonic()
    while (found := await chosen(client)) != model:
        assert time.monotonic() - began_s < within_s, f"{found} instead of {model}"
        await asyncio.sleep(0.2)
    return time.monotonic() - began_s


async def test_the_death_of_the_chosen_model_fails_nobody_who_has_no_byte_yet(
    cluster: Cluster, pair: httpx.AsyncClient
) -> None:
    await until_chosen(pair, "first", 40)
    pid = (await cluster.counts("first", PAIR))["pid"]
    over = asyncio.Event()

    async def user() -> list[Heard]:
        heard = []
        while not over.is_set():
            heard.append(await hear(pair))
        return heard

    users = [asyncio.create_task(user()) for _ in range(USERS)]
    await asyncio.sleep(1.5)
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(4)
    over.set()
    heard = [each for found in await asyncio.gather(*users) for each in found]
    assert {each.status for each in heard} == {200}
    # Whoever was listening to it is cut off, at most once each; nobody else loses a sample or waits for long.
    cut = [each for each in heard if each.cut]
    assert len(cut) <= USERS
    assert {each.model for each in cut} <= {"first"}
    assert {each.size for each in heard if not each.cut} == {BYTES}
    assert {each.model for each in heard} == {"first", "second"}
    assert max(each.took_s for each in heard) < SOON_S
    # And it is asked again once it is back.
    await until_chosen(pair, "first", 40)
    assert (await cluster.counts("first", PAIR))["pid"] != pid


async def test_one_that_hangs_delays_nobody_who_asks_for_another(pair: httpx.AsyncClient) -> None:
    stuck = [asyncio.create_task(hear(pair, model="sloth", fallback=False)) for _ in range(4)]
    preload = asyncio.create_task(pair.get("/readyz"))
    await asyncio.sleep(0.2)
    for fields in ({"model": "second"}, {"model": "second", "voice": "second-tone"}, {"model": "fast"}):
        heard = await hear(pair, **fields)
        assert (heard.status, heard.size) == (200, BYTES)
        assert heard.took_s < SOON_S / 2
    for path in ("/v1/audio/models", "/v1/audio/voices", "/v1/models", "/livez"):
        began_s = time.monotonic()
        assert (await pair.get(path)).status_code == 200
        assert time.monotonic() - began_s < SOON_S / 2
    ready = await preload
    assert ready.status_code == 503
    assert ready.json()["models"]["sloth"] == {"ready": False}
    assert not any(task.done() for task in stuck)
    for task in stuck:
        task.cancel()
    await asyncio.wait(stuck)


async def test_one_that_hangs_is_stood_in_for_and_then_avoided(pair: httpx.AsyncClient) -> None:
    heard = await hear(pair, model="sloth", fallback=True)
    assert (heard.status, heard.size) == (200, BYTES)
    assert heard.took_s < SOON_S
    again = await hear(pair, model="sloth", fallback=True)
    assert again.status == 200
    assert again.took_s < SOON_S / 2
    answer = (await pair.post("/v1/audio/route", json={"input": "Hello.", "model": "quality"})).json()
    states = {each["model"]: each["state"] for each in answer["candidates"]}
    assert states["sloth"] == "down"
    assert answer["candidates"][-1]["model"] == "sloth"


async def test_fallback_false_is_obeyed(pair: httpx.AsyncClient) -> None:
    body = {"model": "second", "input": "one down two", "fallback": False}
    answer = await pair.post(SPEECH, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_not_ready")
    answer = await pair.post(SPEECH, json=body | {"fallback": None})
    assert answer.status_code == 503  # a model that is named is obeyed, too
