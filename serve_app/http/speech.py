"""POST /v1/audio/speech."""

from __future__ import annotations

import time
import uuid
from typing import Any

from fastapi import APIRouter, Request, Response

from deployments.core.errors import InvalidRequest
from serve_app.audio.delivery import Delivery
from serve_app.audio.encoders import FORMATS, output_rate_hz
from serve_app.http.headers import header_value, ignored_header, warnings_header
from serve_app.http.schema import SpeechBody
from serve_app.http.service import SpeechService
from serve_app.http.streaming import ClosingStream, sse_events

NO_BUFFERING = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
AUDIO_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Audio of `response_format`, sent while it is made; with `stream_format: sse`, events",
        "content": {fmt.media_type: {} for fmt in FORMATS.values()} | {"text/event-stream": {}},
    },
    400: {"description": "Bad input; nothing reached a model"},
    404: {"description": "Unknown model or voice"},
    413: {"description": "The body is too large"},
    429: {"description": "The queue is full; see Retry-After"},
    503: {"description": "The model is not ready; see Retry-After"},
    504: {"description": "No audio within the time allowed; see Retry-After"},
}


def speech_routes(service: SpeechService) -> APIRouter:
    routes = APIRouter(tags=["speech"])

    @routes.post("/v1/audio/speech", summary="Speak a text", response_class=Response, responses=AUDIO_ANSWERS)
    async def speech(body: SpeechBody, request: Request) -> Response:
        arrived_s = time.monotonic()
        fmt = FORMATS[body.response_format]
        sample_rate_hz = output_rate_hz(fmt, body.sample_rate)
        request_id = request.headers.get("x-request-id") or uuid.uuid4().hex
        if not request_id.isascii() or len(request_id) > 200:
            raise InvalidRequest("x-request-id must be at most 200 ASCII characters")
        spoken = service.stream(await body.request(request_id))
        delivery = await Delivery.open(spoken, fmt, sample_rate_hz)
        headers = _headers(delivery, body, time.monotonic() - arrived_s)
        if body.stream_format == "sse":
            events = sse_events(delivery, len(body.input), request_id)
            return ClosingStream(events, "text/event-stream", headers, delivery, request_id)
        if body.stream:
            return ClosingStream(delivery.encoded(), fmt.media_type, headers, delivery, request_id)
        data = await delivery.whole()
        elapsed_s = time.monotonic() - arrived_s
        headers["X-Audio-Duration"] = f"{delivery.duration_s:.3f}"
        headers.update(warnings_header(delivery.warnings))
        headers["X-RTF"] = f"{elapsed_s / max(delivery.duration_s, 1e-9):.3f}"
        return Response(data, media_type=fmt.media_type, headers=headers)

    return routes


def _headers(delivery: Delivery, body: SpeechBody, first_audio_s: float) -> dict[str, str]:
    start = delivery.start
    headers = {
        **NO_BUFFERING,
        "X-Model": header_value(start.model),
        "X-Voice": header_value(start.voice),
        "X-Sample-Rate": str(delivery.sample_rate_hz),
        "X-Route-Reason": header_value(start.reason),
        "Server-Timing": f"first_audio;dur={first_audio_s * 1000:.1f}",
    }
    if start.filler_ms:
        headers["X-Filler-Ms"] = f"{start.filler_ms:.0f}"
    if start.voice_cache:
        headers["X-Cache"] = start.voice_cache
    return headers | ignored_header(body.ignored(start.ignored)) | warnings_header(start.warnings)
