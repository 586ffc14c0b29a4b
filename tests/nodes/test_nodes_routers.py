"""Three Routers and Ingresses on two nodes answer as one, and one that dies takes only its own streams with it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import httpx
import pytest
from nodes_graph import REQUESTS_PER_MINUTE, NodesGraph
from websockets.asyncio.client import connect

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.slow]

SPEECH, VOICES = "/v1/audio/speech", "/v1/audio/voices"
WORD_BYTES = 2 * 4800  # 0.2 s of 24 kHz
ASKED = 18  # often enough that no Router is left out: (2/3)^18 is less than a thousandth


def client(graph: NodesGraph, key: str = "anybody") -> httpx.AsyncClient:
    """Without connections that are kept: each request may go to another proxy, Ingress and Router."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=graph.url, timeout=60, limits=limits, headers=graph.headers(key))


async def statuses(http: httpx.AsyncClient, path: str, times: int = ASKED) -> set[int]:
    return {answer.status_code for answer in await asyncio.gather(*(http.get(path) for _ in range(times)))}


async def speak(http: httpx.AsyncClient, words: int = 5, **fields: Any) -> httpx.Response:
    body = {"model": "talker", "input": "word " * words, "response_format": "pcm", **fields}
    return await http.post(SPEECH, json=body)


async def test_a_voice_is_known_to_all_within_a_second_and_gone_from_all(
    routers: NodesGraph, clip: bytes
) -> None:
    async with client(routers) as http:
        files = {"audio_sample": ("berta.wav", clip, "audio/wav")}
        made = await http.post(VOICES, files=files, data={"name": "Berta", "consent": "yes"})
        assert made.status_code == 200, made.text
        registered_s = time.monotonic()
        known = await statuses(http, f"{VOICES}/Berta")
        assert known == {200}
        spoken = await asyncio.gather(
            *(speak(http, 3, model="bells", voice="Berta") for _ in range(ASKED // 3))
        )
        assert {answer.status_code for answer in spoken} == {200}, [answer.text for answer in spoken][:1]
        assert len({answer.content for answer in spoken}) == 1
        await asyncio.sleep(max(0.0, registered_s + 1.0 - time.monotonic()))
        for answer in await asyncio.gather(*(http.get(VOICES) for _ in range(ASKED))):
            assert [voice["name"] for voice in answer.json()["uploaded_voices"]] == ["Berta"]
        assert (await http.delete(f"{VOICES}/Berta")).status_code == 200
        await asyncio.sleep(1.1)
        assert await statuses(http, f"{VOICES}/Berta") == {404}


async def test_one_name_is_given_once_however_many_ask_for_it(routers: NodesGraph, clip: bytes) -> None:
    async with client(routers) as http:

        async def register() -> int:
            files = {"audio_sample": ("clara.wav", clip, "audio/wav")}
            return (
                await http.post(VOICES, files=files, data={"name": "Clara", "consent": "yes"})
            ).status_code

        found = await asyncio.gather(*(register() for _ in range(6)))
        assert sorted(found) == [200, *[409] * 5]
        await http.delete(f"{VOICES}/Clara")


async def test_a_seed_means_the_same_everywhere(routers: NodesGraph) -> None:
    async with client(routers) as http:
        answers = [await speak(http, 3, model="bells", voice="anna", seed=7) for _ in range(6)]
        assert len({answer.content for answer in answers}) == 1
        assert answers[0].status_code == 200


async def test_a_batch_and_a_session(routers: NodesGraph) -> None:
    async with client(routers) as http:
        items = [{"input": "word " * words} for words in (1, 2, 3, 4, 5, 6, 7, 8)]
        body = {"items": items, "model": "talker", "response_format": "pcm"}
        found = (await http.post(f"{SPEECH}/batch", json=body)).json()
        sizes = [len(base64.b64decode(each["audio_data"])) for each in found["results"]]
        assert sizes == [words * WORD_BYTES for words in range(1, 9)]
    address = routers.url.replace("http://", "ws://") + f"{SPEECH}/stream"
    for _ in range(3):
        async with connect(address, max_size=None, additional_headers=routers.headers("anybody")) as socket:
            for message in (
                {"type": "session.config", "model": "talker", "response_format": "pcm"},
                {"type": "input.text", "text": "word word word"},
                {"type": "input.done"},
            ):
                await socket.send(json.dumps(message))
            size = 0
            while True:
                message = await asyncio.wait_for(socket.recv(), 30)
                if isinstance(message, bytes):
                    size += len(message)
                elif json.loads(message)["type"] == "audio.done":
                    break
            assert size == pytest.approx(3 * WORD_BYTES, abs=WORD_BYTES // 10)


async def test_the_limit_of_requests_is_that_of_each_router_and_says_when_to_come_back(
    routers: NodesGraph,
) -> None:
    async with client(routers) as http:
        answers = await asyncio.gather(*(speak(http, 10) for _ in range(40)))
        whole = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(whole) + len(refused) == 40
        assert 6 <= len(whole) <= 3 * 6
        assert all(len(answer.content) == 10 * WORD_BYTES for answer in whole)
        assert all(float(answer.headers["retry-after"]) >= 1 for answer in refused)
        # Nothing is left behind: the places are free again.
        again = await asyncio.gather(*(speak(http, 1) for _ in range(3)))
        assert {answer.status_code for answer in again} == {200}


async def test_the_limits_of_a_key_hold_for_all_ingresses_together(routers: NodesGraph) -> None:
    async with client(routers, "few-requests") as http:
        found = []
        for _ in range(2 * REQUESTS_PER_MINUTE):
            found.append((await http.get(VOICES)).status_code)
            await asyncio.sleep(0.1)
    # They tell each other once a second, in which some more are let in.
    assert REQUESTS_PER_MINUTE <= found.count(200) <= 1.5 * REQUESTS_PER_MINUTE, found
    assert set(found) == {200, 429}


async def test_a_router_that_dies_takes_only_its_own_streams_with_it(routers: NodesGraph) -> None:
    words, users = 20, 9

    async def listen() -> int:
        """Bytes; what was heard of a stream that was cut counts as nothing."""
        body = {"model": "talker", "input": "word " * words, "response_format": "pcm", "fallback": False}
        size = 0
        try:
            async with http.stream("POST", SPEECH, json=body) as answer:
                if answer.status_code != 200:
                    return -answer.status_code
                async for data in answer.aiter_bytes():
                    size += len(data)
        except httpx.TransportError:
            return 0
        return size

    async with client(routers) as http:
        streams = [asyncio.create_task(listen()) for _ in range(users)]
        await asyncio.sleep(1.5)
        await asyncio.to_thread(routers.ask, "kill Router")
        sizes = await asyncio.gather(*streams)
        whole = [size for size in sizes if size == words * WORD_BYTES]
        assert len(whole) >= 3, sizes
        assert len(whole) + sum(size <= 0 for size in sizes) == users, "a cut stream must look cut"
        # The others go on, and a third one comes again.
        assert (await speak(http, 2)).status_code == 200
        await routers.until(lambda replicas: replicas["Router"] == 3, within_s=40)
        answers = await asyncio.gather(*(speak(http, 2) for _ in range(6)))
        assert {answer.status_code for answer in answers} == {200}
