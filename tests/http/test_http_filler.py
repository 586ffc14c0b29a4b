"""An answer that begins with an interjection, over HTTP."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from cluster import Cluster

PAUSE_S, WORD_S = 0.15, 0.1


async def spoken(client: httpx.AsyncClient, **fields: object) -> tuple[float, float]:
    """Seconds of audio, and of the filler that the answer says it has."""
    body = {"model": "second", "input": "one two three", "response_format": "pcm", **fields}
    answer = await client.post("/v1/audio/speech", json=body)
    assert answer.status_code == 200
    assert "x-ignored-fields" not in answer.headers
    return len(answer.content) / 48_000, float(answer.headers.get("x-filler-ms", 0)) / 1000


async def test_an_answer_begins_with_a_filler_once_one_is_made(cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.pair_url, timeout=30) as client:
        plain = await spoken(client)
        assert plain == (pytest.approx(3 * WORD_S), 0)
        deadline_s = time.monotonic() + 20
        while not (filled := await spoken(client, filler=True))[1]:
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.1)
        assert abs(filled[1] - WORD_S) < 0.01
        assert abs(filled[0] - (plain[0] + filled[1] + PAUSE_S)) < 0.01
        assert await spoken(client, filler=False) == plain
        assert await spoken(client, filler=True, seed=1) == plain
        assert await spoken(client, filler=True, latency_budget_ms=60_000) == plain


async def test_a_server_without_fillers_says_that_it_ignores_the_wish(cluster: Cluster) -> None:
    body = {"model": "toy2", "input": "one", "response_format": "pcm", "filler": True}
    async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as client:
        answer = await client.post("/v1/audio/speech", json=body)
    assert answer.headers["x-ignored-fields"] == "filler"
    assert "x-filler-ms" not in answer.headers
