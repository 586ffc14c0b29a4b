"""Asking for speech, and reading what is answered."""

from __future__ import annotations

import io
import json
from typing import Any

import av
import httpx
import numpy as np
from http_fakes import FakeService, make_client

SPEECH = "/v1/audio/speech"
MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
FAST = {"input": "Hello.", "response_format": "pcm"}


async def ask(service: FakeService, **body: Any) -> httpx.Response:
    async with make_client(service) as client:
        return await client.post(SPEECH, json={"input": "Hello.", **body})


def decode(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Samples and rate."""
    if name == "pcm":
        return np.frombuffer(data, "<i2") / 32768, 24_000
    with av.open(io.BytesIO(data)) as container:
        frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
        rate_hz = container.streams.audio[0].rate
    samples = np.concatenate(frames)
    return (samples / 32768 if samples.dtype == np.int16 else samples), rate_hz


def sse(text: str) -> list[tuple[str, dict[str, Any]]]:
    """(event, data) of a stream in the exact framing that OpenAI's SDKs read."""
    assert text.endswith("\n\n")
    found = []
    for block in text[:-2].split("\n\n"):
        first, second = block.split("\n")
        assert first.startswith("event: ")
        assert second.startswith("data: ")
        found.append((first.removeprefix("event: "), json.loads(second.removeprefix("data: "))))
    return found
