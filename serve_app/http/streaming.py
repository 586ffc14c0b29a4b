"""Responses whose body is made while it is sent."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncGenerator, Mapping

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from deployments.core.errors import SpeechError
from serve_app.audio.delivery import Delivery
from serve_app.http.errors import UNFORESEEN, error_body

logger = logging.getLogger("ray.serve")

CODES_PER_S = 50  # `usage` counts audio in 20 ms units, the code rate of the models served here


class ClosingStream(StreamingResponse):
    """Closes its generator, and the delivery it reads, whatever ends the response.

    Starlette leaves the generator to the garbage collector. One that was never asked for anything (the client left
    before the first byte) does not run its own clean-up, so `delivery` is closed here as well.
    """

    def __init__(
        self,
        content: AsyncGenerator[bytes, None],
        media_type: str,
        headers: Mapping[str, str],
        delivery: Delivery | None = None,
    ) -> None:
        super().__init__(content, media_type=media_type, headers=dict(headers))
        self._generator = content
        self._delivery = delivery

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            pass  # nobody is left to tell, and nothing has failed
        finally:
            await self._generator.aclose()
            if self._delivery is not None:
                await self._delivery.close()


async def sse_events(delivery: Delivery, input_chars: int) -> AsyncGenerator[bytes, None]:
    """OpenAI's speech events. The deltas together are one file; a failure after the first becomes an error event."""
    encoded = delivery.encoded()
    try:
        async for data in encoded:
            yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
        audio_units = round(delivery.duration_s * CODES_PER_S)
        usage = {
            "input_tokens": input_chars,
            "output_tokens": audio_units,
            "total_tokens": input_chars + audio_units,
        }
        yield _event({"type": "speech.audio.done", "usage": usage})
    except SpeechError as error:
        yield _event({"type": "speech.audio.error", **error_body(error)})
    except Exception:
        logger.exception("a speech stream failed")
        yield _event({"type": "speech.audio.error", **error_body(SpeechError(UNFORESEEN))})
    finally:
        await encoded.aclose()


def _event(payload: Mapping[str, object]) -> bytes:
    return f"event: {payload['type']}\ndata: {json.dumps(payload, ensure_ascii=False)}\n\n".encode()
