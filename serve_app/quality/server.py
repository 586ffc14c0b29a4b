"""One answer of the server under evaluation: its bytes, and when they came."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import numpy as np

from serve_app.bench.client import ReceivedSpeech, Target, connections, listen
from serve_app.bench.metrics import Trace
from serve_app.quality import EvalError
from serve_app.quality.lines import Line
from serve_app.quality.recording import Wave, decode, decode_pcm

FORMATS = ("pcm", "wav", "flac", "mp3", "opus", "aac")
# What the lines or the evaluation itself decide.
OWN_FIELDS = frozenset({"input", "voice", "ref_audio", "stream_format"})
PCM_RATE_HZ = 24_000

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """`body` is complete unless `trace.error` says otherwise; `ignored` are fields that changed nothing."""

    trace: Trace
    body: bytes = field(repr=False)
    response_format: str
    sample_rate_hz: int
    model: str | None
    voice: str | None
    ignored: tuple[str, ...]

    def wave(self) -> Wave:
        """(n,) at 16 kHz; empty where nothing can be decoded."""
        if self.response_format == "pcm" and not self.body.startswith(b"RIFF"):
            return decode_pcm(self.body, self.sample_rate_hz)
        try:
            return decode(self.body)
        except ValueError:
            return np.zeros(0, np.float32)


class _WholeSpeech(ReceivedSpeech):
    def note(self, piece: bytes) -> None:
        self.pieces.append((time.perf_counter(), len(piece)))
        self.body += piece


class SpeechServer:
    """Failures of a request are part of its answer, never raised."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._http = connections(target)

    async def close(self) -> None:
        await self._http.aclose()

    async def speak(self, line: Line, fields: Fields) -> Answer:
        body = request_body(self.target.model, line, fields)
        target = replace(self.target, response_format=body["response_format"])
        received = _WholeSpeech(target, line.text, sent_at_s=time.perf_counter())
        headers = httpx.Headers()
        try:
            async with self._http.stream("POST", target.url, json=body) as response:
                headers = response.headers
                await listen(response, received)
        except httpx.TransportError as error:
            received.fail(type(error).__name__, str(error) or f"no answer within {target.timeout_s:g} s")
        received.ended_at_s = time.perf_counter()
        return Answer(
            trace=received.trace(0),
            body=bytes(received.body),
            response_format=target.response_format,
            sample_rate_hz=received.sample_rate_hz or PCM_RATE_HZ,
            model=headers.get("x-model"),
            voice=headers.get("x-voice"),
            ignored=tuple(headers.get("x-ignored-fields", "").replace(",", " ").split()),
        )


def request_body(model: str, line: Line, fields: Fields) -> dict[str, Any]:
    """Streamed PCM of `model` unless `fields` say otherwise; no other model may step in; one seed for every run."""
    body: dict[str, Any] = {
        "model": model,
        "input": line.text,
        "response_format": "pcm",
        "stream": True,
        "seed": 0,
        "fallback": False,
        **fields,
    }
    if line.clone and line.reference is not None:
        recording = base64.b64encode(line.reference.read_bytes()).decode()
        body["ref_audio"] = f"data:audio/{line.reference.suffix[1:].lower()};base64,{recording}"
    elif line.voice is not None:
        body["voice"] = line.voice
    return body


def check_fields(fields: Fields) -> None:
    """EvalError for fields with a setting of their own, and for a format that cannot be measured."""
    if own := OWN_FIELDS.intersection(fields):
        raise EvalError(
            f"a setting must not name {', '.join(sorted(own))}: the set and the options say these"
        )
    if (wanted := fields.get("response_format", "pcm")) not in FORMATS:
        raise EvalError(f"format {wanted!r} is none of {', '.join(FORMATS)}")
