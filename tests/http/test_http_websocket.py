"""WS /v1/audio/speech/stream through the real proxy."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from cluster import Cluster
from websockets.asyncio.client import ClientConnection, connect

RATE_HZ = 24_000
WORD_S = 0.1
PAUSE_S = 0.3  # after a sentence


class Talk:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def configure(self, **fields: Any) -> None:
        await self.send("session.config", **{"model": "toy", "response_format": "pcm", **fields})

    async def say(self, *texts: str) -> None:
        for text in texts:
            await self.send("input.text", text=text)

    async def next(self, timeout_s: float = 20.0) -> Any:
        message = await asyncio.wait_for(self.socket.recv(), timeout_s)
        return message if isinstance(message, bytes) else json.loads(message)

    async def until(self, kind: str) -> tuple[dict[str, Any], bytes]:
        """The next message of this type and the audio before it."""
        audio = b""
        while isinstance(message := await self.next(), bytes):
            audio += message
        assert message["type"] == kind, message
        return message, audio

    async def utterance(self) -> tuple[dict[str, Any], bytes, dict[str, Any]]:
        start, _ = await self.until("audio.start")
        done, audio = await self.until("audio.done")
        return start, audio, done


@asynccontextmanager
async def talking(url: str) -> AsyncIterator[Talk]:
    address = url.replace("http://", "ws://") + "/v1/audio/speech/stream"
    async with connect(address, max_size=None) as socket:
        yield Talk(socket)


@pytest.fixture
async def talk(cluster: Cluster) -> AsyncIterator[Talk]:
    async with talking(cluster.url) as talk:
        yield talk


def seconds(pcm: bytes) -> float:
    return len(pcm) / 2 / RATE_HZ


async def test_two_utterances_in_one_session(talk: Talk) -> None:
    await talk.configure()
    await talk.say("one two ", "three. fo", "ur")
    await talk.send("input.done")
    start, audio, done = await talk.utterance()
    assert (start["model"], start["sample_rate"], start["utterance"]) == ("toy", RATE_HZ, 0)
    assert seconds(audio) == pytest.approx(4 * WORD_S + PAUSE_S, abs=0.01)
    assert done["duration_s"] == pytest.approx(seconds(audio), abs=0.001)
    await talk.say("again")
    await talk.send("input.done")
    start, audio, _ = await talk.utterance()
    assert start["utterance"] == 1
    assert seconds(audio) == pytest.approx(WORD_S, abs=0.01)
    await talk.send("session.close")
    assert (await talk.next())["type"] == "session.done"
    await talk.socket.wait_closed()
    assert talk.socket.close_code == 1000


async def test_audio_comes_before_the_text_is_complete(talk: Talk) -> None:
    await talk.configure()
    await talk.say("one two three. fo")
    await talk.until("audio.start")
    assert isinstance(await talk.next(), bytes)
    await talk.say("ur five")
    await talk.send("input.done")
    await talk.until("audio.done")


async def test_cancel_stops_the_stage(cluster: Cluster, talk: Talk) -> None:
    await talk.configure()
    await talk.say("slow " * 200, ". slow " * 20)
    await talk.send("input.done")
    await talk.until("audio.start")
    await talk.next()
    assert (await cluster.counts("toy"))["running"] >= 1
    began = time.monotonic()
    await talk.send("input.cancel")
    done, _ = await talk.until("audio.done")
    assert done["cancelled"]
    assert time.monotonic() - began < 1.0
    assert await cluster.settled("toy", within_s=3.0)
    await talk.say("next")
    await talk.send("input.done")
    start, audio, done = await talk.utterance()
    assert (start["utterance"], done["cancelled"]) == (1, False)
    assert seconds(audio) == pytest.approx(WORD_S, abs=0.01)


@pytest.mark.parametrize("politely", [True, False])
async def test_a_client_that_leaves_stops_the_stage(cluster: Cluster, politely: bool) -> None:
    async with talking(cluster.url) as talk:
        await talk.configure()
        await talk.say("slow " * 200, ". slow " * 20)
        await talk.until("audio.start")
        assert (await cluster.counts("toy"))["running"] >= 1
        if not politely:
            talk.socket.transport.abort()
    assert await cluster.settled("toy", within_s=3.0)


async def test_bad_messages(talk: Talk) -> None:
    await talk.configure()
    for frame in (
        "{",
        b"\x00\x01",
        '{"type": "nothing"}',
        '{"type": "input.text", "text": 5}',
        '{"type": "input.done"}',
    ):
        await talk.socket.send(frame)
        error, _ = await talk.until("error")
        assert error["error"].keys() == {"message", "type", "param", "code"}
        assert error["error"]["type"] == "invalid_request_error"
    await talk.say("one")
    await talk.send("input.done")
    assert not (await talk.utterance())[2]["failed"]


@pytest.mark.parametrize(
    ("config", "param"),
    [({"model": "nobody"}, "model"), ({"voice": "nobody"}, "voice"), ({"speed": 9}, "speed")],
)
async def test_a_bad_configuration_ends_the_session(talk: Talk, config: dict[str, Any], param: str) -> None:
    await talk.configure(**config)
    assert (await talk.until("error"))[0]["error"]["param"] == param
    assert (await talk.next())["type"] == "session.done"
    await talk.socket.wait_closed()
    assert talk.socket.close_code == 1008


async def test_a_model_that_breaks(talk: Talk) -> None:
    await talk.configure()
    await talk.say("one two three. one break three. ")
    await talk.send("input.done")
    await talk.until("audio.start")
    error, _ = await talk.until("error")
    assert error["error"]["type"] == "server_error"
    assert (await talk.until("audio.done"))[0]["failed"]


async def test_many_sessions_on_a_small_server(cluster: Cluster) -> None:
    """Places for 4 requests: a later piece waits for one, a first piece is refused at once."""

    async def one() -> dict[str, Any]:
        async with talking(cluster.small_url) as talk:
            await talk.configure(model="tiny")
            await talk.say("slow one two. slow three. slow four.")
            await talk.send("input.done")
            while isinstance(message := await talk.next(), bytes) or message["type"] == "audio.start":
                pass
            return dict(message)

    outcomes = await asyncio.gather(*(one() for _ in range(6)))
    done = [message for message in outcomes if message["type"] == "audio.done"]
    assert len(done) >= 2
    assert all(m["duration_s"] == pytest.approx(7 * WORD_S + 2 * PAUSE_S, abs=0.01) for m in done)
    assert all(m["error"]["code"] == "queue_full" for m in outcomes if m["type"] == "error")
    assert await cluster.settled("tiny", "small")


async def test_a_real_model(kokoro: Cluster, talk: Talk) -> None:
    await talk.configure(model="kokoro", voice="af_heart")
    await talk.say("Good morning, ladies and gentlemen. ", "Th")
    start, _ = await talk.until("audio.start")
    assert start["voice"] == "af_heart"
    await talk.say("e train is late. ", "Please wait.")
    await talk.send("input.done")
    done, audio = await talk.until("audio.done")
    assert not done["failed"]
    assert done["duration_s"] > 3
    assert np.abs(np.frombuffer(audio, dtype="<i2")).max() > 1000


async def test_one_piece_equals_http(kokoro: Cluster, talk: Talk) -> None:
    import httpx

    text = "Good morning. The train is late."
    fields = {"model": "kokoro", "voice": "af_heart", "response_format": "pcm"}
    async with httpx.AsyncClient(base_url=kokoro.url, timeout=60) as client:
        whole = (await client.post("/v1/audio/speech", json={**fields, "input": text})).content
    await talk.configure(**fields, split_granularity="none")
    await talk.say("Good morning. ", "The train is late.")
    await talk.send("input.done")
    _, audio, _ = await talk.utterance()
    assert audio == whole


async def test_a_model_of_four_stages(talk: Talk) -> None:
    await talk.configure(model="index", seed=3)
    await talk.say("The first sentence is short. ", "The second one is ", "longer.")
    await talk.send("input.done")
    start, audio, done = await talk.utterance()
    assert (start["model"], done["failed"]) == ("index", False)
    assert seconds(audio) > 0.1
