"""Replicas that die while they work."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from cluster import Cluster


def ask(url: str, text: str) -> httpx.Response:
    body = {"model": "toy2", "input": text, "response_format": "pcm", "fallback": False}
    return httpx.post(f"{url}/v1/audio/speech", json=body, timeout=30)


async def test_death_of_a_stage_breaks_its_stream_and_the_next_request_works(cluster: Cluster) -> None:
    before = (await cluster.counts("toy2"))["pid"]
    with pytest.raises(httpx.RemoteProtocolError):
        await asyncio.to_thread(ask, cluster.url, "one slow die three")
    began = time.monotonic()
    while True:
        answer = await asyncio.to_thread(ask, cluster.url, "one two three")
        if answer.status_code == 200 or time.monotonic() - began > 15:
            break
        assert answer.status_code == 503  # clear, and says when to come back
        assert "retry-after" in answer.headers
    assert len(answer.content) == 3 * 4800
    assert (await cluster.counts("toy2"))["pid"] != before


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGILL", "SIGABRT", "SIGKILL"])
async def test_the_signal_of_which_a_stage_died_is_named_at_once(cluster: Cluster, name: str) -> None:
    pid = (await cluster.counts("toy2"))["pid"]
    began = time.monotonic()
    answer = await asyncio.to_thread(ask, cluster.url, f"one {name} two")
    assert time.monotonic() - began < 5
    assert answer.status_code == 503
    message = answer.json()["error"]["message"]
    assert name in message
    assert f"'toy2' (pid {pid})" in message
    assert "try again" in message
    while (await asyncio.to_thread(ask, cluster.url, "one two three")).status_code != 200:
        assert time.monotonic() - began < 30
        await asyncio.sleep(0.2)
