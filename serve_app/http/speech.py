"""POST /v1/audio/speech."""

from __future__ import annotations

import time
import uuid
from typing import Any

from fastapi import APIRouter, Request, Response

from deployments.core.errors import InvalidRequest
from serve_app.audio.delivery import Delivery
from serve_app.audio.encoders import FORMATS, output_rate_hz
from serve_app.http.caller import caller_of
from serve_app.http.headers import header_value, ignored_header, warnings_header
from serve_app.http.remote_recording import remote_of
from serve_app.http.schema import SpeechBody
from serve_app.http.service import SpeechService
from serve_app.http.streaming import ClosingStream, sse_events
from serve_app.observe.timing import server_timing

NO_BUFFERING = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
AUDIO_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Audio of `response_format`, sent while it is made; with `stream_format: sse`, events",
        "content": {fmt.media_type: {} for fmt in FORMATS.values()} | {"text/event-stream": {}},
    },
    400: {"description": "Bad input; nothing reached a model"},
    401: {"description": "The server asks for an API key, and this is none of its own"},
    404: {"description": "Unknown model or voice"},
    413: {"description": "The body is too large"},
    429: {"description": "The queue is full, or the key has used its share; see Retry-After"},
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
        # It comes back in a header and stands in logs.
        if not (request_id.isascii() and request_id.isprintable()) or len(request_id) > 200:
            raise InvalidRequest("x-request-id must be at most 200 printable ASCII characters")
        spoken = service.stream(caller_of(request).signed(await body.request(request_id, remote_of(request))))
        delivery = await Delivery.open(spoken, fmt, sample_rate_hz)
        first_audio_s = time.monotonic() - arrived_s
        headers = _headers(delivery, body, first_audio_s)
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
        spent_s = delivery.end.stage_s if delivery.end else {}
        headers["Server-Timing"] = server_timing(spent_s, first_audio=first_audio_s, total=elapsed_s)
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
        "Server-Timing": server_timing(start.stage_s, first_audio=first_audio_s),
    }
    if start.filler_ms:
        headers["X-Filler-Ms"] = f"{start.filler_ms:.0f}"
    if start.voice_cache:
        headers["X-Cache"] = start.voice_cache
    return headers | ignored_header(body.ignored(start.ignored)) | warnings_header(start.warnings)
