"""Responses whose body is made while it is sent.

Server-sent events are two lines of text here. A library for them (sse-starlette) would bring a response class of its
own, which leaves the generator to the garbage collector when a client goes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from deployments.core.errors import SpeechError
from deployments.core.logs import RequestLogger
from serve_app.audio.delivery import Delivery
from serve_app.http.errors import UNFORESEEN, error_body
from serve_app.http.stream_cut import StreamCut, log_cut

USAGE_UNITS_PER_S = 50  # `usage` counts audio in units of 20 ms


class ClosingStream(StreamingResponse):
    """Closes its generator, and the delivery it reads, whatever ends the response. A failure after the first byte is
    one line in the log, and cuts the connection: what was sent must not pass for the whole.

    Starlette leaves the generator to the garbage collector. One that was never asked for anything (the client left
    before the first byte) does not run its own clean-up, so `delivery` is closed here as well.
    """

    def __init__(
        self,
        content: AsyncGenerator[bytes, None],
        media_type: str,
        headers: Mapping[str, str],
        delivery: Delivery | None = None,
        request_id: str = "",
    ) -> None:
        self._generator = self._cut_where_it_fails(content)
        super().__init__(self._generator, media_type=media_type, headers=dict(headers))
        self._delivery = delivery
        self._request_id = request_id
        self._bytes_sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except StreamCut as cut:
            model = self._delivery.start.model if self._delivery is not None else "none"
            log_cut(self._request_id, model, self._bytes_sent, cut.failure)
            raise
        except ClientDisconnect:
            pass  # nobody is left to tell, and nothing has failed
        finally:
            await self._generator.aclose()
            if self._delivery is not None:
                await self._delivery.close()

    async def _cut_where_it_fails(self, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(content):
                async for data in content:
                    yield data
                    self._bytes_sent += len(data)
        except SpeechError as failure:
            raise StreamCut(failure) from None
        except ClientDisconnect:
            raise
        except Exception:
            RequestLogger(self._request_id).exception("a speech stream failed")
            raise StreamCut(SpeechError(UNFORESEEN)) from None


async def sse_events(delivery: Delivery, input_chars: int, request_id: str) -> AsyncGenerator[bytes, None]:
    """OpenAI's speech events. The deltas together are one file; a failure after the first becomes an error event."""
    encoded = delivery.encoded()
    bytes_sent = 0
    try:
        async for data in encoded:
            yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
            bytes_sent += len(data)
        done = {
            "usage": usage(input_chars, delivery.duration_s),
            "warnings": list(delivery.warnings),
            "stage_ms": delivery.stage_ms,
        }
        yield _event({"type": "speech.audio.done", **done})
    except SpeechError as error:
        log_cut(request_id, delivery.start.model, bytes_sent, error)
        yield _event({"type": "speech.audio.error", **error_body(error)})
    except Exception:
        RequestLogger(request_id).exception("a speech stream failed")
        yield _event({"type": "speech.audio.error", **error_body(SpeechError(UNFORESEEN))})
    finally:
        await encoded.aclose()


def usage(input_chars: int, audio_s: float) -> dict[str, int]:
    """OpenAI's counts of a request: characters in, 20 ms units of audio out."""
    units = round(audio_s * USAGE_UNITS_PER_S)
    return {"input_tokens": input_chars, "output_tokens": units, "total_tokens": input_chars + units}


def _event(payload: Mapping[str, object]) -> bytes:
    return f"event: {payload['type']}\ndata: {json.dumps(payload, ensure_ascii=False)}\n\n".encode()
