"""One client of an OpenAI-compatible speech URL that notes when every piece of the answer arrived."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from types import TracebackType
from typing import Any

import httpx

from serve_app.bench.metrics import Arrival, Trace
from serve_app.bench.timeline import ENCODED_FORMATS, HEAD_BYTES, RESPONSE_FORMATS, timeline

# What has its own setting, or would change what the body means to the measurement.
OWN_FIELDS = frozenset({"input", "model", "voice", "response_format", "stream_format"})

CONNECT_TIMEOUT_S = 10.0
DETAIL_CHARS = 300


@dataclass(frozen=True)
class Target:
    """Where requests go and what all of them say.

    `sample_rate_hz` is the rate of raw bodies where the answer has no `X-Sample-Rate` (None: 24000 pcm,
    8000 ulaw). `timeout_s` bounds the time without a byte, not the whole answer. ValueError for an address
    without scheme, an unknown format, or fields of `extra` that have their own setting.
    """

    base_url: str
    model: str = "tts-1"
    voice: str = "alloy"
    response_format: str = "pcm"
    sample_rate_hz: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError(f"{self.base_url!r} is no address; write http://host:port")
        if self.response_format not in RESPONSE_FORMATS:
            raise ValueError(f"format {self.response_format!r} is none of {', '.join(RESPONSE_FORMATS)}")
        if own := OWN_FIELDS.intersection(self.extra):
            raise ValueError(f"extra must not set {', '.join(sorted(own))}: these have their own settings")

    @property
    def url(self) -> str:
        """The speech URL; a base with or without `/v1` is the same, as users of the OpenAI SDKs write it."""
        return f"{self.base_url.rstrip('/').removesuffix('/v1')}/v1/audio/speech"

    def body(self, text: str) -> dict[str, Any]:
        return {
            "model": self.model,
            "voice": self.voice,
            "input": text,
            "response_format": self.response_format,
            "stream": True,
            "stream_format": "audio",
            **self.extra,
        }

    def settings(self) -> dict[str, Any]:
        """All of it for a report, except the key itself."""
        fields = {name: value for name, value in vars(self).items() if name not in ("base_url", "api_key")}
        return {"url": self.url, **fields, "authenticated": self.api_key is not None}

    def headers(self) -> dict[str, str]:
        # Compression would make the arrival of bytes say nothing about the arrival of audio.
        headers = {"Accept-Encoding": "identity"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return headers


@dataclass
class ReceivedSpeech:
    """What one request left behind; decoding waits until the run is over, not to delay other streams."""

    target: Target
    text: str
    sent_at_s: float
    ended_at_s: float = 0.0
    status: int | None = None
    error: str | None = None
    detail: str | None = None
    retry_after: str | None = None
    sample_rate_hz: int | None = None
    pieces: list[tuple[float, int]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)

    def fail(self, kind: str, detail: str) -> None:
        self.error, self.detail = kind, detail[:DETAIL_CHARS]

    def note(self, piece: bytes) -> None:
        """Remember when a piece came, and of its bytes what is needed to tell how much audio it is."""
        self.pieces.append((time.perf_counter(), len(piece)))
        if self.target.response_format in ENCODED_FORMATS:
            self.body += piece
        elif len(self.body) < HEAD_BYTES:
            self.body += piece[: HEAD_BYTES - len(self.body)]

    def trace(self, index: int, *, run_start_s: float = 0.0, late_s: float = 0.0) -> Trace:
        """The frozen record; decodes encoded audio, so it may take milliseconds per second of speech."""
        arrivals = self._arrivals()
        if self.error is None and not sum(arrival.audio_s for arrival in arrivals):
            self.fail(
                "no_audio", f"status 200 with {sum(size for _, size in self.pieces)} bytes and no audio"
            )
        return Trace(
            index=index,
            text_chars=len(self.text),
            sent_s=self.sent_at_s - run_start_s,
            late_s=late_s,
            total_s=self.ended_at_s - self.sent_at_s,
            status=self.status,
            error=self.error,
            detail=self.detail,
            retry_after=self.retry_after,
            arrivals=arrivals,
        )

    def _arrivals(self) -> tuple[Arrival, ...]:
        if not self.pieces:
            return ()
        counts = list(accumulate(size for _, size in self.pieces))
        try:
            line = timeline(self.target.response_format, bytes(self.body), self.sample_rate_hz)
            playable_s = [line.seconds(count) for count in counts]
        except ValueError as error:
            playable_s = [0.0] * len(counts)
            if self.error is None:
                self.fail("undecodable", str(error))
        gained_s = [now_s - before_s for before_s, now_s in pairwise([0.0, *playable_s])]
        return tuple(
            Arrival(at_s - self.sent_at_s, size, audio_s)
            for (at_s, size), audio_s in zip(self.pieces, gained_s, strict=True)
        )


def connections(target: Target) -> httpx.AsyncClient:
    """Kept-alive connections without a limit of their own: all waiting is the server's."""
    return httpx.AsyncClient(
        headers=target.headers(),
        timeout=httpx.Timeout(target.timeout_s, connect=CONNECT_TIMEOUT_S, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
    )


class SpeechClient:
    """Sends texts and notes when their audio came."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._http = connections(target)

    async def __aenter__(self) -> SpeechClient:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def speak(self, text: str) -> ReceivedSpeech:
        """One request, read to its end. Errors of the server or the network are noted, never raised."""
        received = ReceivedSpeech(self.target, text, sent_at_s=time.perf_counter())
        try:
            async with self._http.stream("POST", self.target.url, json=self.target.body(text)) as response:
                await listen(response, received)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            received.fail("connect", _said(error))
        except httpx.TimeoutException as error:
            received.fail("timeout", f"{_said(error)} after {self.target.timeout_s:g} s without a byte")
        except httpx.TransportError as error:
            received.fail("broken_stream" if received.pieces else "disconnected", _said(error))
        received.ended_at_s = time.perf_counter()
        return received


async def listen(response: httpx.Response, received: ReceivedSpeech) -> None:
    """Read an answer to its end into `received`. Raises httpx.TransportError."""
    received.status = response.status_code
    received.retry_after = response.headers.get("retry-after")
    if response.status_code != httpx.codes.OK:
        received.fail(f"http_{response.status_code}", _message(await response.aread()))
        return
    content_type = response.headers.get("content-type", "")
    if content_type.startswith(("application/json", "text/")):
        received.fail("not_audio", f"status 200 with Content-Type {content_type}")
        return
    stated_rate = response.headers.get("x-sample-rate", "")
    received.sample_rate_hz = int(stated_rate) if stated_rate.isdecimal() else received.target.sample_rate_hz
    async for piece in response.aiter_raw():
        if piece:
            received.note(piece)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _message(body: bytes) -> str:
    """The message of an OpenAI error object, or the body as it is."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", errors="replace")
